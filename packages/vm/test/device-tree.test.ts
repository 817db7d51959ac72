/** Device trees with parts taken out, judged by dtc. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withoutParts } from '../device-tree.js';

const SOURCE = `/dts-v1/;
/ {
  model = "a board";
  soc { hdmi@7ef00700 { reg = <1 2>; port { x = "y"; }; }; serial@7e { status = "okay"; clocks = <7>; }; };
  chosen { stdout-path = "serial1:115200n8"; };
};
`;
const dtc = (input: string | Buffer, from: string, to: string): Buffer =>
  execFileSync('dtc', ['-q', '-I', from, '-O', to], { input });
const TREE = dtc(SOURCE, 'dts', 'dtb');
const sourceOf = (tree: Buffer): string => dtc(tree, 'dtb', 'dts').toString().replace(/\s+/g, ' ');

describe('a device tree', () => {
  it('lacks the nodes and properties that were taken out, and has all others', () => {
    const less = withoutParts(TREE, ['/soc/hdmi@7ef00700', '/soc/serial@7e:clocks', '/not/there', '/chosen:nor-this']);
    expect(less).toHaveLength(TREE.length);
    expect(sourceOf(less)).toBe(
      '/dts-v1/; / { model = "a board"; soc { serial@7e { status = "okay"; }; }; ' +
        'chosen { stdout-path = "serial1:115200n8"; }; }; ',
    );
  });

  it('is the same if nothing is taken out', () => {
    expect(withoutParts(TREE, [])).toEqual(TREE);
  });

  it('is read without harm if it is damaged', () => {
    const spoil = fc.tuple(fc.integer({ min: 0, max: TREE.length - 1 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(spoil, { minLength: 1, maxLength: 6 }), (changes) => {
        const bytes = Buffer.from(TREE);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          withoutParts(bytes, ['/soc/hdmi@7ef00700', '/soc/serial@7e:clocks']);
        } catch (error) {
          expect((error as Error).message).toContain('the device tree is damaged');
        }
      }),
      { numRuns: 5000 },
    );
    expect(() => withoutParts(Buffer.from('no tree'), [])).toThrow('no magic number');
  });
});
