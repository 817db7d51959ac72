import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { warnOfPins } from '../../../bin/lib/warn-of-pins.js';
import { readPins } from '../pins.js';
import { entriesFor, readRecord, RECORD, writeRecord } from '../record.js';
import { pinWarnings } from '../warn.js';
import { pins, repository, ROOT } from './helpers.js';

const DIGEST = 'a'.repeat(128);
const npm = (name: string, version: string): string =>
  `export const ${name} = { name: '${name}', version: '${version}', places: [{ npm: { package: '${name}', version: '${version}' }, sha512: '${DIGEST}' }] };\n`;
const NOW = new Date('2026-11-26T12:00:00Z');
const recorded = (entries: object): string =>
  repository({ 'kernel/sources.ts': npm('one', '1.0.0') + npm('two', '2.0.0'), [RECORD]: JSON.stringify(entries) });

describe('the warning', () => {
  it.each([
    [{ version: '1.0.0', newest: '2026-09-27' }, undefined],
    [{ version: '1.0.0', newest: '2026-09-26' }, 'was last known to be the newest 61 days ago'],
    [{ version: '1.0.0', newest: '2027-01-01' }, undefined],
    [{ version: '0.9.0', newest: '2026-11-26' }, 'was never known to be the newest'],
    [{ version: '1.0.0', newest: 'soon' }, 'was never known to be the newest'],
    [undefined, 'was never known to be the newest'],
  ])('of %j is %s', async (entry, words) => {
    const root = recorded({ one: entry, two: { version: '2.0.0', newest: '2026-11-26' } });
    const expected =
      words === undefined ? [] : [`the pin one ${words} (kernel/sources.ts); npm run pins update looks again`];
    expect(await pinWarnings(root, NOW)).toEqual(expected);
  });

  it('is a line on standard error, and never a failure', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    try {
      await warnOfPins(recorded({ two: { version: '2.0.0', newest: new Date().toISOString().slice(0, 10) } }));
      await warnOfPins(repository({ 'kernel/sources.ts': '', [RECORD]: '{' }));
      await warnOfPins(join(ROOT, 'nowhere'));
      expect(warn.mock.calls.flat()).toEqual([
        expect.stringMatching(/^warning: the pin one was never/),
        expect.stringMatching(/^warning: the pins could not be read: scripts\/pins\/record\.json is not JSON/),
        expect.stringMatching(/^warning: the pins could not be read: ENOENT/),
      ]);
    } finally {
      warn.mockRestore();
    }
  });
});

describe('the record', () => {
  it('keeps other entries, removes those of deleted pins, and leaves no other file', async () => {
    const root = recorded({
      gone: { version: '1', newest: '2026-01-01' },
      two: { version: '2.0.0', newest: '2026-01-01' },
    });
    const current = [{ id: 'one', version: '1.0.0', released: '2026-05-05' }];
    await writeRecord(root, await readPins(root), entriesFor(current, NOW));
    expect(await readRecord(root)).toEqual({
      one: { version: '1.0.0', released: '2026-05-05', newest: '2026-11-26' },
      two: { version: '2.0.0', newest: '2026-01-01' },
    });
    expect(readdirSync(join(root, 'scripts/pins'))).toEqual(['record.json']);
  });

  it('of this repository matches its pins', async () => {
    const entries = await readRecord(ROOT);
    const ids = (await readPins(ROOT)).map(({ id }) => id);
    expect(Object.keys(entries).filter((id) => !ids.includes(id))).toEqual([]);
    expect(readFileSync(join(ROOT, RECORD), 'utf8')).toBe(JSON.stringify(entries, null, 2) + '\n');
  });

  it('that is damaged is not overwritten', async () => {
    const root = recorded({});
    writeFileSync(join(root, RECORD), '{ "one":');
    const { status, stderr } = await pins(root, 'check', '--record');
    expect(status).toBe(1);
    expect(stderr).toMatch(/record\.json is not JSON[\s\S]*git checkout/);
    expect(readFileSync(join(root, RECORD), 'utf8')).toBe('{ "one":');
  });
});
