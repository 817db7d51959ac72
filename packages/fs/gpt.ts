/**
 * Describes partition tables: a GPT, and before it the MBR that protects it from tools that know no GPT and holds the
 * code that a BIOS starts. The readers are in `@nodeos/block`.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
 *
 *     sector 0         MBR: code, one entry that covers the disk
 *     sector 1         header
 *     sectors 2 to 33  128 entries
 *     …
 *     the last 33      entries and header once more
 */
import { crc32 } from 'node:zlib';
import type { Region } from '@nodeos/block';
import { mbr, MBR_TYPES, type MbrPartition } from './mbr.js';
import { SECTOR } from './sector.js';

/** Bytes at the start and at the end of a disk that the tables take. */
export const GPT_START = 34 * SECTOR;
export const GPT_END = 33 * SECTOR;

const ENTRIES = 128;
const ENTRY = 128;
const HEADER = 92;
const NAME_UNITS = 36;
const REVISION = 0x00010000;

/** Types of partitions. https://uapi-group.org/specifications/specs/discoverable_partitions_specification/ */
export const GPT_TYPES = {
  esp: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  linux: '0fc63daf-8483-4772-8e79-3d69d8477de4',
} as const;

export interface GptPartition {
  /** A GUID, such as one of `GPT_TYPES`. */
  readonly type: string;
  /** The GUID of this partition, which Linux calls PARTUUID. */
  readonly id: string;
  /** At most 36 UTF-16 units. */
  readonly name: string;
  /** Bytes, multiples of 512. */
  readonly offset: number;
  readonly length: number;
}

/** https://www.rodsbooks.com/gdisk/hybrid.html */
export interface HybridPartition extends Pick<MbrPartition, 'type' | 'isActive'> {
  /** The partition of the GPT, from 1 on. */
  readonly number: number;
}

export interface GptOptions {
  /** Bytes of the disk, a multiple of 512. */
  readonly size: number;
  /** The GUID of the disk. */
  readonly id: string;
  readonly partitions: readonly GptPartition[];
  /** Code for the MBR, at most 440 bytes. */
  readonly code?: Uint8Array;
  /** At most three partitions, in order, that the MBR names as well, for systems that know no GPT. Default: none. */
  readonly hybrid?: readonly HybridPartition[];
  /** First byte that partitions may use; what is before it is free for other uses. Default: right behind the table. */
  readonly firstUsable?: number;
}

/**
 * The regions of both copies of the table and of the MBR.
 * @throws RangeError if partitions overlap, leave the usable part or are not aligned, or if a name or an id is invalid;
 * if a hybrid MBR names partitions that do not exist, are out of order, or do not fit into its 32 bits
 */
export function gpt(options: GptOptions): Region[] {
  const { size } = options;
  checkDisk(options);
  const entries = encodeEntries(options.partitions);
  const last = size / SECTOR - 1;
  const backup = size - GPT_END;
  return [
    { offset: 0, length: SECTOR, source: firstSector(options, last) },
    { offset: SECTOR, length: SECTOR, source: encodeHeader(options, entries, { here: 1, other: last, list: 2 }) },
    { offset: 2 * SECTOR, length: entries.length, source: entries },
    { offset: backup, length: entries.length, source: entries },
    {
      offset: size - SECTOR,
      length: SECTOR,
      source: encodeHeader(options, entries, { here: last, other: 1, list: backup / SECTOR }),
    },
  ];
}

function checkDisk({ size, partitions, firstUsable = GPT_START }: GptOptions): void {
  if (!Number.isSafeInteger(size) || size % SECTOR !== 0 || size < GPT_START + GPT_END)
    throw new RangeError(`a disk of ${size} bytes: a multiple of ${SECTOR}, and at least ${GPT_START + GPT_END}`);
  if (partitions.length > ENTRIES) throw new RangeError(`${partitions.length} partitions: ${ENTRIES} fit`);
  let end = firstUsable;
  for (const { name, offset, length } of [...partitions].sort((a, b) => a.offset - b.offset)) {
    if (
      offset % SECTOR !== 0 ||
      length % SECTOR !== 0 ||
      length <= 0 ||
      offset < end ||
      offset + length > size - GPT_END
    )
      throw new RangeError(
        `the partition ${JSON.stringify(name)} (${length} bytes at ${offset}) does not fit between ${end} and ${size - GPT_END}`,
      );
    if (name.length > NAME_UNITS) throw new RangeError(`the name of the partition ${JSON.stringify(name)} is too long`);
    end = offset + length;
  }
}

/**
 * One entry covers the disk, as far as 32 bits reach; in a hybrid MBR, what is before the other entries. It is active
 * if no other one is, because some BIOSes start no other disk.
 */
function firstSector({ code = new Uint8Array(), hybrid = [], partitions }: GptOptions, last: number): Buffer {
  const others = hybrid.map(({ number, ...entry }): MbrPartition => {
    const found = partitions[number - 1];
    if (!found) throw new RangeError(`the hybrid MBR names the partition ${number} of ${partitions.length}`);
    return { ...entry, offset: found.offset, length: found.length };
  });
  const end = (others[0]?.offset ?? Infinity) / SECTOR;
  const length = Math.min(last, 0xffffffff, end - 1) * SECTOR;
  const isActive = !others.some((other) => other.isActive);
  return mbr({ code, partitions: [{ type: MBR_TYPES.protective, offset: SECTOR, length, isActive }, ...others] });
}

function encodeEntries(partitions: readonly GptPartition[]): Buffer {
  const bytes = Buffer.alloc(ENTRIES * ENTRY);
  for (const [index, { type, id, name, offset, length }] of partitions.entries()) {
    const entry = bytes.subarray(index * ENTRY, (index + 1) * ENTRY);
    entry.set(guidBytes(type), 0);
    entry.set(guidBytes(id), 16);
    entry.writeBigUInt64LE(BigInt(offset / SECTOR), 32);
    entry.writeBigUInt64LE(BigInt((offset + length) / SECTOR - 1), 40);
    entry.write(name, 56, 'utf16le');
  }
  return bytes;
}

/** Sectors of a header, of the other one, and of its list of entries. */
interface HeaderPlaces {
  readonly here: number;
  readonly other: number;
  readonly list: number;
}

function encodeHeader(
  { size, id, firstUsable = GPT_START }: GptOptions,
  entries: Buffer,
  { here, other, list }: HeaderPlaces,
): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.write('EFI PART', 0, 'latin1');
  bytes.writeUInt32LE(REVISION, 8);
  bytes.writeUInt32LE(HEADER, 12);
  for (const [field, sector] of [
    [24, here],
    [32, other],
    [40, firstUsable / SECTOR],
    [48, (size - GPT_END) / SECTOR - 1],
    [72, list],
  ] as const)
    bytes.writeBigUInt64LE(BigInt(sector), field);
  bytes.set(guidBytes(id), 56);
  bytes.writeUInt32LE(ENTRIES, 80);
  bytes.writeUInt32LE(ENTRY, 84);
  bytes.writeUInt32LE(crc32(entries), 88);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER)), 16);
  return bytes;
}

/** The first three fields of a GUID are little-endian. @throws RangeError if the text is no GUID */
function guidBytes(text: string): Buffer {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
    throw new RangeError(`${JSON.stringify(text)} is no GUID`);
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
