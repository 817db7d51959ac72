/**
 * The GUID partition table: one header in the second sector and one in the last sector, each with its own list of
 * entries. https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
 */
import { crc32 } from 'node:zlib';
import { uint64LE, type Parsing } from './parsing.js';
import type { Partition } from './partition-entry.js';

const SIGNATURE = 'EFI PART';
const MIN_HEADER = 92;
/** Largest list of entries in bytes. A usual list has 16 KiB. */
const MAX_ENTRIES = 1 << 20;
/** Where the name is within an entry, in bytes. */
const NAME = { at: 56, length: 72 };
/** The type of an entry that is not used. */
const UNUSED = Buffer.alloc(16);

/** Logical sector sizes of disks in bytes. The header is in the second sector. */
export const SECTOR_SIZES = [512, 4096] as const;

/** @returns undefined if neither place has a header. @throws Error with the code EINVAL if no header is intact */
export async function gptPartitions(
  input: Parsing,
  sizes: readonly number[] = SECTOR_SIZES,
): Promise<Partition[] | undefined> {
  let problem: Error | undefined;
  for (const sectorSize of sizes)
    for (const at of [sectorSize, input.size - (input.size % sectorSize) - sectorSize])
      try {
        const found = await readTable(input, at, sectorSize);
        if (found) return found;
      } catch (error) {
        problem ??= error as Error; // the other header may be intact
      }
  if (problem !== undefined) throw problem;
  return undefined;
}

/** @returns undefined if there is no header. @throws Error with the code EINVAL if the header is damaged */
async function readTable(input: Parsing, at: number, sectorSize: number): Promise<Partition[] | undefined> {
  if (at < sectorSize || at + sectorSize > input.size) return undefined;
  const header = await input.bytes(at, sectorSize, 'the header');
  if (header.toString('latin1', 0, 8) !== SIGNATURE) return undefined;
  const size = header.readUInt32LE(12);
  if (size < MIN_HEADER || size > sectorSize) throw input.formatError(`a header of ${size} bytes`);
  const sum = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  if (crc32(header.subarray(0, size)) !== sum) throw input.formatError('the header’s checksum is wrong');
  if (uint64LE(header, 24) !== at / sectorSize) throw input.formatError('the header is of another place');
  const [count, entrySize] = [header.readUInt32LE(80), header.readUInt32LE(84)];
  if (entrySize < 128 || entrySize % 8 !== 0 || count * entrySize > MAX_ENTRIES)
    throw input.formatError(`${count} entries of ${entrySize} bytes`);
  const entries = await input.bytes(uint64LE(header, 72) * sectorSize, count * entrySize, 'the list of partitions');
  if (crc32(entries) !== header.readUInt32LE(88))
    throw input.formatError('the checksum of the list of partitions is wrong');
  return Array.from({ length: count }, (_, index) => index)
    .filter((index) => entries.compare(UNUSED, 0, UNUSED.length, index * entrySize, index * entrySize + UNUSED.length))
    .map((index) => partitionOf(entries.subarray(index * entrySize, (index + 1) * entrySize), index + 1, sectorSize));
}

function partitionOf(entry: Buffer, number: number, sectorSize: number): Partition {
  const [first, last] = [uint64LE(entry, 32), uint64LE(entry, 40)];
  const name = entry.toString('utf16le', NAME.at, NAME.at + NAME.length).replace(/\0.*$/s, '');
  return {
    number,
    offset: first * sectorSize,
    length: (last - first + 1) * sectorSize,
    type: guid(entry),
    ...(name === '' ? {} : { name }),
  };
}

/** The first three fields of a GUID are little-endian. */
function guid(bytes: Buffer): string {
  const hex = (start: number, end: number, reversed: boolean): string =>
    Buffer.from(reversed ? bytes.subarray(start, end).toReversed() : bytes.subarray(start, end)).toString('hex');
  return [hex(0, 4, true), hex(4, 6, true), hex(6, 8, true), hex(8, 10, false), hex(10, 16, false)].join('-');
}
