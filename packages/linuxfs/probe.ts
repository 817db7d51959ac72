/** Tells what filesystem a device has, by the bytes that identify each. */
import type { BlockBackend } from '@nodeos/block';

interface Magic {
  readonly type: string;
  /** Bytes from the start of the device. */
  readonly offset: number;
  readonly bytes: readonly number[];
  /** The label and the UUID, at these offsets. */
  readonly label?: readonly [offset: number, length: number];
  readonly uuid?: number;
}

const ascii = (text: string): number[] => [...Buffer.from(text, 'latin1')];

/**
 * In this order: the first that fits counts. The sources are the headers of each driver in the kernel's `fs/`.
 * ext2 and ext3 are mounted by ext4's driver too.
 */
const MAGICS: readonly Magic[] = [
  { type: 'squashfs', offset: 0, bytes: ascii('hsqs') },
  { type: 'xfs', offset: 0, bytes: ascii('XFSB'), label: [108, 12], uuid: 32 },
  { type: 'erofs', offset: 1024, bytes: [0xe2, 0xe1, 0xf5, 0xe0], label: [1024 + 64, 16], uuid: 1024 + 48 },
  { type: 'f2fs', offset: 1024, bytes: [0x10, 0x20, 0xf5, 0xf2], uuid: 1024 + 108 },
  { type: 'ext4', offset: 1024 + 56, bytes: [0x53, 0xef], label: [1024 + 120, 16], uuid: 1024 + 104 },
  { type: 'btrfs', offset: 0x10040, bytes: ascii('_BHRfS_M'), label: [0x1012b, 256], uuid: 0x10020 },
  { type: 'iso9660', offset: 32769, bytes: ascii('CD001'), label: [32808, 32] },
  { type: 'exfat', offset: 3, bytes: ascii('EXFAT   ') },
  { type: 'vfat', offset: 82, bytes: ascii('FAT32   '), label: [71, 11] },
  { type: 'vfat', offset: 54, bytes: ascii('FAT12   '), label: [43, 11] },
  { type: 'vfat', offset: 54, bytes: ascii('FAT16   '), label: [43, 11] },
  { type: 'vfat', offset: 54, bytes: ascii('FAT     '), label: [43, 11] },
];

/** The types that can be mounted. */
export const TYPES: readonly string[] = [...new Set(['ext2', 'ext3', ...MAGICS.map(({ type }) => type)])];

export interface Probed {
  readonly type: string;
  readonly label?: string;
  /** In lower case, with hyphens. */
  readonly uuid?: string;
}

/** @returns undefined if it is none that is known */
export async function probe(device: BlockBackend): Promise<Probed | undefined> {
  const head = Buffer.alloc(Math.min(device.size, 0x11000));
  await device.read(head, 0);
  const found = MAGICS.find(({ offset, bytes }) => bytes.every((byte, index) => head[offset + index] === byte));
  if (!found) return undefined;
  const label = found.label && textAt(head, ...found.label);
  return {
    type: found.type,
    ...(label ? { label } : {}),
    ...(found.uuid === undefined ? {} : { uuid: uuidAt(head, found.uuid) }),
  };
}

function textAt(head: Buffer, offset: number, length: number): string {
  const bytes = head.subarray(offset, offset + length);
  const end = bytes.indexOf(0);
  return bytes
    .subarray(0, end < 0 ? length : end)
    .toString('utf8')
    .trimEnd();
}

const uuidAt = (head: Buffer, offset: number): string =>
  head
    .subarray(offset, offset + 16)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
