import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareDebian, upstreamOf } from '../debian-version.js';

const hasDpkg = spawnSync('dpkg', ['--version']).status === 0;

describe('compareDebian', () => {
  it.each([
    ['6.12.9-1', '6.12.118-1'],
    ['2.41-12+deb13u4', '2.41-12+deb13u5'],
    ['1.0~rc1-1', '1.0-1'],
    ['1.0-1~deb13u1', '1.0-1'],
    ['1.0-1', '1.0-1+b1'],
    ['9.9-1', '1:0.1-1'],
    ['1.0a', '1.0+'],
    ['1.0', '1.0-1'],
    ['1.3.dfsg+really1.3.1-1', '1.3.dfsg+really1.3.1-1+deb13u1'],
  ])('%s is older than %s', (older, newer) => {
    expect(compareDebian(older, newer)).toBeLessThan(0);
    expect(compareDebian(newer, older)).toBeGreaterThan(0);
  });

  it.each([
    ['1.0', '1.00'],
    ['0:1.0', '1.0'],
    ['1.0-0', '1.0'],
  ])('%s is %s', (a, b) => expect(compareDebian(a, b)).toBe(0));

  it.skipIf(!hasDpkg)('agrees with dpkg', () => {
    const pieces = fc.array(fc.constantFrom('0', '1', '9', '10', '007', 'a', 'Z', 'rc', '+', '.', '~'), {
      maxLength: 5,
    });
    const text = pieces.map((parts) => parts.join(''));
    const version = fc
      .tuple(fc.constantFrom('', '0:', '2:'), text, fc.option(text.filter((part) => part !== '')))
      .map(([epoch, upstream, revision]) => `${epoch}1${upstream}${revision === null ? '' : `-${revision}`}`);
    // Also pairs of similar versions.
    const pair = fc.oneof(
      fc.tuple(version, version),
      fc.tuple(version, text).map(([a, more]) => [a, a + more] as const),
    );
    const pairs = fc.sample(pair, { numRuns: 300, seed: fc.readConfigureGlobal().seed ?? 1 });
    const script = `while read a b; do
      dpkg --compare-versions "$a" lt "$b" && echo -1 || { dpkg --compare-versions "$a" gt "$b" && echo 1 || echo 0; }
    done`;
    const input = pairs.map(([a, b]) => `${a} ${b}\n`).join('');
    const { stdout, stderr } = spawnSync('sh', ['-c', script], { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    const ours = pairs.map(([a, b]) => `${a} ${b} ${Math.sign(compareDebian(a, b))}`);
    const expected = stdout.trim().split('\n');
    expect(ours).toEqual(pairs.map(([a, b], i) => `${a} ${b} ${expected[i] ?? ''}`));
    expect(new Set(expected)).toEqual(new Set(['-1', '0', '1']));
  });
});

describe('upstreamOf', () => {
  it.each([
    ['6.12.118-1', '6.12.118'],
    ['2.0.9+ds-2', '2.0.9'],
    ['1.0~dfsg1-2', '1.0'],
    ['1:1.3.dfsg+really1.3.1-1+deb13u1', '1.3.1'],
    ['3.6.6-0.1~deb13u1', '3.6.6'],
    ['1.2', '1.2'],
  ])('of %s is %s', (version, upstream) => expect(upstreamOf(version)).toBe(upstream));
});
