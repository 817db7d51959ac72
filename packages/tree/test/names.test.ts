/** Names as bytes, judged by Python, whose "surrogateescape" (PEP 383) is the same. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareNames, entryPath, pathBytes, pathOf } from '../index.js';

/** Bytes that are often nearly UTF-8. */
const bytes = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 4 }),
      fc.string({ unit: 'binary', maxLength: 3 }).map((text) => Buffer.from(text)),
      fc
        .constantFrom('eda080', 'edb2a0', 'f0', 'e282', 'f4908080', 'c0af', 'efbfbd', 'f09f9280', '80')
        .map((hex) => Buffer.from(hex, 'hex')),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts));

describe('a path', () => {
  it.each([
    ['616263', 'abc'],
    ['67726ce4c3bc', 'grl\udce4ü'],
    ['eda080', '\udced\udca0\udc80'], // an encoded surrogate: three bytes, each apart
    ['f09f9280', '💀'],
    ['f09f92', '\udcf0\udc9f\udc92'],
    ['c0af', '\udcc0\udcaf'],
    ['efbfbd80', '\ufffd\udc80'],
  ])('of the bytes %s is %j, and back', (hex, path) => {
    expect(pathOf(Buffer.from(hex, 'hex'))).toBe(path);
    expect(pathBytes(path).toString('hex')).toBe(hex);
  });

  it('keeps any bytes', () => {
    fc.assert(
      fc.property(bytes, (some) => {
        expect(pathBytes(pathOf(some))).toEqual(some);
      }),
      { numRuns: 2000 },
    );
  });

  it('is what Python makes of the bytes', () => {
    const samples = fc.sample(bytes, 500);
    const program = `import sys, json
for line in sys.stdin:
  print(json.dumps(bytes.fromhex(line.strip()).decode('utf-8', 'surrogateescape')))`;
    const input = samples.map((some) => `${some.toString('hex')}\n`).join('');
    const told = execFileSync('python3', ['-c', program], { input }).toString().trimEnd().split('\n');
    expect(samples.map(pathOf)).toEqual(told.map((line) => JSON.parse(line) as string));
  });

  it('has one form: no other text has the same bytes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 6 }),
        (text) => {
          let made: Buffer | undefined;
          try {
            made = pathBytes(text);
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
          }
          if (made) expect(pathOf(made)).toBe(text);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each(['a\ud800', '\udc00b', '\udcc3\udca4', '\ud83d', '\udd00'])('%j is refused', (path) => {
    expect(() => pathBytes(path)).toThrow(RangeError);
    expect(() => pathBytes(path)).toThrow('is the name of no file');
  });

  it('sorts by its bytes', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 8 }), (all) => {
        const sorted = all.map(pathOf).sort(compareNames);
        expect(sorted.map((path) => pathBytes(path).toString('hex'))).toEqual(
          all.map((one) => one.toString('hex')).sort(),
        );
      }),
    );
    expect(['😀', '\uff41', '\udcff', 'é'].sort(compareNames)).toEqual(['é', '\uff41', '😀', '\udcff']);
  });

  it.each(['', '/a', 'a/', 'a//b', '.', 'a/../b', './a', 'a\0b', '..'])('%j is none of an entry', (path) => {
    expect(() => entryPath(path)).toThrow('is no path of an entry');
  });

  it('of an entry may have dots in a name', () => {
    expect(entryPath('a/..b/c...').toString()).toBe('a/..b/c...');
  });
});
