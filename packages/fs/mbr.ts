/**
 * Describes the partition table of a PC in the first sector of a disk, with the code that a BIOS starts. The reader is
 * in `@nodeos/block`.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html#legacy-master-boot-record-mbr
 */
import { SECTOR } from './sector.js';

/** Largest code, in bytes. */
export const MBR_CODE = 440;

/** Types of partitions. */
export const MBR_TYPES = { fat32: 0x0c, linux: 0x83, protective: 0xee } as const;

const ENTRIES = 4;
const ENTRY = 16;
const TABLE = 446;
const DISK_ID = 440;
const ACTIVE = 0x80;
const MAX_UINT32 = 0xffffffff;
/** Cylinder, head and sector of a place that they cannot name. */
const BEYOND = [0xfe, 0xff, 0xff];

export interface MbrPartition {
  /** One byte, such as one of `MBR_TYPES`. */
  readonly type: number;
  /** Bytes, multiples of 512. At most 2 TiB - 512 each. */
  readonly offset: number;
  readonly length: number;
  /** A BIOS may start only disks that have an active partition. */
  readonly isActive?: boolean;
}

export interface MbrOptions {
  /** At most 4. */
  readonly partitions: readonly MbrPartition[];
  /** 32 bits. Linux makes PARTUUIDs of it. Default 0. */
  readonly id?: number;
  /** At most 440 bytes. */
  readonly code?: Uint8Array;
}

/** Linux's PARTUUID of a partition. @param number from 1 on */
export const mbrPartitionId = (id: number, number: number): string =>
  `${id.toString(16).padStart(8, '0')}-${number.toString(16).padStart(2, '0')}`;

/**
 * The first sector.
 * @throws RangeError if the partitions overlap, are too many or too far away or not aligned, or if the code is too long
 */
export function mbr({ partitions, id = 0, code = new Uint8Array() }: MbrOptions): Buffer {
  if (code.length > MBR_CODE) throw new RangeError(`${code.length} bytes of code: ${MBR_CODE} fit`);
  if (partitions.length > ENTRIES) throw new RangeError(`${partitions.length} partitions: ${ENTRIES} fit`);
  const bytes = Buffer.alloc(SECTOR);
  bytes.set(code);
  bytes.writeUInt32LE(id, DISK_ID);
  let end = SECTOR;
  for (const [index, partition] of partitions.entries()) {
    const { offset, length } = partition;
    if (!isPlace(offset) || !isPlace(length) || length === 0 || offset < end)
      throw new RangeError(`partition ${index + 1} (${length} bytes at ${offset}) does not fit behind ${end}`);
    encode(partition, bytes.subarray(TABLE + index * ENTRY));
    end = offset + length;
  }
  bytes.writeUInt16LE(0xaa55, SECTOR - 2);
  return bytes;
}

const isPlace = (bytes: number): boolean => bytes >= 0 && bytes % SECTOR === 0 && bytes / SECTOR <= MAX_UINT32;

function encode({ type, offset, length, isActive = false }: MbrPartition, entry: Buffer): void {
  entry.writeUInt8(isActive ? ACTIVE : 0, 0);
  entry.set(offset === SECTOR ? [0, 2, 0] : BEYOND, 1);
  entry.writeUInt8(type, 4);
  entry.set(type === MBR_TYPES.protective ? [0xff, 0xff, 0xff] : BEYOND, 5);
  entry.writeUInt32LE(offset / SECTOR, 8);
  entry.writeUInt32LE(length / SECTOR, 12);
}
