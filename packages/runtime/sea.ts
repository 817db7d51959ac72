/**
 * A plain Node.js out of a single-executable application: https://nodejs.org/api/single-executable-applications.html
 *
 * Whoever makes such an application adds a blob to Node.js's binary and sets a fuse in it, one character, so that
 * Node.js looks for the blob when it starts. With the fuse set back it is Node.js as it was. The blob, and the debug
 * sections, lie behind the last segment that is loaded: the file ends there. GNU strip cannot do that: it would put
 * the program headers, which were moved to the end, back where they no longer fit.
 */
import { PT_LOAD, segmentsOf } from './elf.js';

const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:';
const BLOWN = '1'.charCodeAt(0);
const WHOLE = '0'.charCodeAt(0);

/**
 * @param binary a 64-bit little-endian ELF file; it is changed
 * @returns the part of it that is Node.js
 * @throws Error if it is no application, or no ELF file
 */
export function plainNode(binary: Buffer): Buffer {
  const at = binary.indexOf(FUSE) + FUSE.length;
  if (at < FUSE.length || binary.indexOf(FUSE, at) >= 0) throw new Error('there is not exactly one fuse in it');
  if (binary[at] !== BLOWN) throw new Error('it is no single-executable application: its fuse is whole');
  binary[at] = WHOLE;
  const end = endOfSegments(binary);
  if (end > binary.length || at >= end) throw new Error('its segments do not lie within the file');
  // No section headers: their offset, number, and the index of the table of their names.
  binary.writeBigUInt64LE(0n, 40);
  binary.writeUInt16LE(0, 60);
  binary.writeUInt16LE(0, 62);
  return binary.subarray(0, end);
}

/** The program headers may be the last of all. */
function endOfSegments(binary: Buffer): number {
  const [start, size, count] = [Number(binary.readBigUInt64LE(32)), binary.readUInt16LE(54), binary.readUInt16LE(56)];
  const loaded = segmentsOf(binary).filter(({ type }) => type === PT_LOAD);
  return Math.max(start + size * count, ...loaded.map((segment) => segment.offset + segment.size));
}
