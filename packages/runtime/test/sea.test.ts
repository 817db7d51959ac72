/** Node.js out of an application: with binaries made here, and with damaged ones. */
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { plainNode } from '../sea.js';

const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:';

/** A file with two segments, the fuse in the second, the program headers behind them, and something after that. */
function application(fuse = `${FUSE}1`, segmentSize = 200): Buffer {
  const binary = Buffer.alloc(600, 0xee);
  binary.fill(0, 0, 64);
  binary.write('\x7fELF', 'latin1');
  binary.writeBigUInt64LE(400n, 32); // e_phoff
  binary.writeBigUInt64LE(500n, 40); // e_shoff
  binary.writeUInt16LE(56, 54);
  binary.writeUInt16LE(2, 56);
  binary.writeUInt16LE(7, 60);
  binary.writeUInt16LE(6, 62);
  for (const [index, [offset, size]] of [
    [0, 150],
    [150, segmentSize],
  ].entries()) {
    const header = 400 + 56 * index;
    binary.fill(0, header, header + 56);
    binary.writeUInt32LE(1, header);
    binary.writeBigUInt64LE(BigInt(offset ?? 0), header + 8);
    binary.writeBigUInt64LE(BigInt(size ?? 0), header + 32);
  }
  binary.write(fuse, 160, 'latin1');
  return binary;
}

describe('plainNode', () => {
  it('sets the fuse back, and ends with the last of segments and program headers', () => {
    const node = plainNode(application());
    expect(node.length).toBe(400 + 2 * 56);
    expect(node.indexOf(`${FUSE}0`)).toBe(160);
    expect([node.readBigUInt64LE(40), node.readUInt16LE(60), node.readUInt16LE(62)]).toEqual([0n, 0, 0]);
  });

  it.each([
    ['without a fuse', application('nothing'), 'not exactly one fuse'],
    ['with two', application(`${FUSE}1${FUSE}1`), 'not exactly one fuse'],
    ['that is Node.js already', application(`${FUSE}0`), 'its fuse is whole'],
    ['that was cut off', application(`${FUSE}1`, 2000), 'do not lie within the file'],
  ])('refuses a file %s', (_what, binary, message) => {
    expect(() => plainNode(binary)).toThrow(message);
  });

  it('throws an error, and nothing else, for whatever bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(599), fc.nat(255)), { maxLength: 20 }), (changes) => {
        const binary = application();
        for (const [at, byte] of changes) binary[at] = byte;
        try {
          expect(plainNode(binary).length).toBeLessThanOrEqual(binary.length);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});
