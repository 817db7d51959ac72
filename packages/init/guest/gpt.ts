/**
 * Changes the GUID partition table of the machine's disk. The copy at the disk's end is written first, then the one at its
 * start. A drive may write the sectors of one request in any order, so a power cut can tear the one that is being written,
 * but not both: `repairGpt` makes the first one again.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
 */
import type { Syscalls } from './syscalls.js';

const SECTOR = 512;
/** An entry, and where the first and the last sector of the partition are in it. */
const ENTRY = { size: 128, first: 32, last: 40 } as const;
/** Bytes of the entries, of which there are 128. */
const ENTRIES = 128 * ENTRY.size;
/** Bytes of what follows the last partition: the entries and the header. */
export const GPT_TABLE = ENTRIES + SECTOR;
/** Fields of a header. */
const HEADER = {
  length: 92,
  sum: 16,
  here: 24,
  other: 32,
  usable: 48,
  list: 72,
  count: 80,
  size: 84,
  listSum: 88,
} as const;
/** The sector of the entries at the disk's start. */
const FIRST_LIST = 2;

/** The function of zlib. */
export type Crc32 = (bytes: Uint8Array) => number;

/** A partition: its number from 1, and its place in bytes. */
export interface GptPlace {
  readonly number: number;
  readonly start: number;
  readonly length: number;
  readonly diskSize: number;
}

interface Table {
  readonly header: Buffer;
  readonly entries: Buffer;
}

/**
 * Gives the last partition another length. @param fd of the disk
 * @returns whether the table was as expected, and has now the new length
 */
export function growInGpt(sys: Syscalls, fd: number, place: GptPlace, crc32: Crc32): boolean {
  const { number, start, length, diskSize } = place;
  const { header, entries } = firstTable(sys, fd);
  if (!isIntact({ header, entries }, FIRST_LIST, crc32) || !isLast(entries, place)) return false;
  entries.writeBigUInt64LE(BigInt((start + length) / SECTOR - 1), (number - 1) * ENTRY.size + ENTRY.last);
  const last = diskSize / SECTOR - 1;
  const list = last - ENTRIES / SECTOR;
  sys.writeAt(fd, entries, list * SECTOR);
  sys.writeAt(fd, headerOf({ header, entries }, { here: last, other: 1, list, last }, crc32), last * SECTOR);
  sys.sync(fd);
  writeFirst(sys, fd, { header, entries }, last, crc32);
  return true;
}

/**
 * Makes the table at the disk's start again, if it is torn and the one at its end is not.
 * @returns whether it was torn, and is whole now
 */
export function repairGpt(sys: Syscalls, fd: number, diskSize: number, crc32: Crc32): boolean {
  const first = firstTable(sys, fd);
  if (!hasSignature(first) || isIntact(first, FIRST_LIST, crc32)) return false;
  const last = diskSize / SECTOR - 1;
  const list = last - ENTRIES / SECTOR;
  const bytes = Buffer.alloc(GPT_TABLE);
  sys.readAt(fd, bytes, list * SECTOR);
  const backup = { entries: bytes.subarray(0, ENTRIES), header: bytes.subarray(ENTRIES) };
  if (!isIntact(backup, list, crc32)) return false;
  writeFirst(sys, fd, backup, last, crc32);
  return true;
}

function firstTable(sys: Syscalls, fd: number): Table {
  const bytes = Buffer.alloc(GPT_TABLE);
  sys.readAt(fd, bytes, SECTOR);
  return { header: bytes.subarray(0, SECTOR), entries: bytes.subarray(SECTOR) };
}

function writeFirst(sys: Syscalls, fd: number, table: Table, last: number, crc32: Crc32): void {
  const header = headerOf(table, { here: 1, other: last, list: FIRST_LIST, last }, crc32);
  sys.writeAt(fd, Buffer.concat([header, table.entries]), SECTOR);
  sys.sync(fd);
}

const hasSignature = ({ header }: Table): boolean => header.toString('latin1', 0, 8) === 'EFI PART';

/** Whether it is a table like ours, and both checksums are right. */
function isIntact({ header, entries }: Table, list: number, crc32: Crc32): boolean {
  const plain = Buffer.from(header.subarray(0, HEADER.length));
  plain.writeUInt32LE(0, HEADER.sum);
  return (
    hasSignature({ header, entries }) &&
    crc32(plain) === header.readUInt32LE(HEADER.sum) &&
    header.readBigUInt64LE(HEADER.list) === BigInt(list) &&
    header.readUInt32LE(HEADER.count) === ENTRIES / ENTRY.size &&
    header.readUInt32LE(HEADER.size) === ENTRY.size &&
    header.readUInt32LE(HEADER.listSum) === crc32(entries)
  );
}

/** Whether the partition is where it is said to be, and has nothing behind it. */
function isLast(entries: Buffer, { number, start }: GptPlace): boolean {
  const starts = Array.from({ length: ENTRIES / ENTRY.size }, (_, index) =>
    entries.readBigUInt64LE(index * ENTRY.size + ENTRY.first),
  );
  return starts[number - 1] === BigInt(start / SECTOR) && starts.every((first) => first <= BigInt(start / SECTOR));
}

/** Sectors of a header, of the other one, of its entries, and of the disk's end. */
interface HeaderPlaces {
  readonly here: number;
  readonly other: number;
  readonly list: number;
  readonly last: number;
}

function headerOf({ header: from, entries }: Table, { here, other, list, last }: HeaderPlaces, crc32: Crc32): Buffer {
  const header = Buffer.from(from);
  for (const [at, sector] of [
    [HEADER.here, here],
    [HEADER.other, other],
    [HEADER.usable, last - GPT_TABLE / SECTOR],
    [HEADER.list, list],
  ] as const)
    header.writeBigUInt64LE(BigInt(sector), at);
  header.writeUInt32LE(crc32(entries), HEADER.listSum);
  header.writeUInt32LE(0, HEADER.sum);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER.length)), HEADER.sum);
  return header;
}
