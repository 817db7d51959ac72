import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseChangelog } from '../changelog.js';

const TEXT = `glibc (2.41-12+deb13u5) trixie-security; urgency=medium

  * Fix CVE-2026-0002, CVE-2026-0001 (Closes: #1)
  * see glibc (2.40) for CVE-2026-0001

 -- A Name <a@example.org>  Sat, 10 Oct 2026 23:30:00 -0200

glibc (2.41-12) unstable experimental; urgency=low
  * Nothing -- really
 -- A <b@example.org>  Mon, 01 Jun 2026 00:00:00 +0000

# Older entries have been removed from this changelog.
`;

it('has the version, the day in UTC and the CVEs of each release', () => {
  expect(parseChangelog(TEXT)).toEqual([
    { version: '2.41-12+deb13u5', date: '2026-10-11', fixes: ['CVE-2026-0001', 'CVE-2026-0002'] },
    { version: '2.41-12', date: '2026-06-01', fixes: [] },
  ]);
  expect(parseChangelog('')).toEqual([]);
  expect(parseChangelog('a (1) x; urgency=low\n')).toEqual([{ version: '1', date: undefined, fixes: [] }]);
});

it('never throws, and is fast', () => {
  const words = fc.constantFrom(
    'a (1) x; u=l\n',
    ' -- A <b>  ',
    'Mon, 01 Jun 2026',
    '\n',
    '(',
    ')',
    ';',
    ' ',
    'CVE-2026-',
  );
  fc.assert(fc.property(fc.array(fc.oneof(words, fc.string())), (parts) => void parseChangelog(parts.join(''))));
  const started = performance.now();
  for (const word of ['a ', '(', ' -- <', 'a (1) ', 'CVE-']) parseChangelog(word.repeat(200_000 / word.length));
  expect(performance.now() - started).toBeLessThan(5000);
});
