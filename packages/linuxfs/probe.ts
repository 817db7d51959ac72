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

/** In this order: the first that fits counts. The sources are the headers of each driver in the kernel's `fs/`. */
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

/** Features of ext2's superblock (`fs/ext4/ext4.h`), by what a driver without them may still do: all, nothing, read. */
const FEATURES = { compatible: 1024 + 92, incompatible: 1024 + 96, readOnly: 1024 + 100 } as const;
const HAS_JOURNAL = 0x4;
/** What ext3 knew: types in folders, a journal to replay, groups of descriptors; sparse superblocks, large files, trees. */
const [EXT3_INCOMPATIBLE, EXT3_READ_ONLY] = [0x2 | 0x4 | 0x10, 0x1 | 0x2 | 0x4];

/** ext2, ext3 and ext4 have one superblock: its features say which, as blkid(8) reads them. */
function extOf(head: Buffer): string {
  const has = (at: number, features: number): boolean => (head.readUInt32LE(at) & features) !== 0;
  if (has(FEATURES.incompatible, ~EXT3_INCOMPATIBLE) || has(FEATURES.readOnly, ~EXT3_READ_ONLY)) return 'ext4';
  if (has(FEATURES.compatible, HAS_JOURNAL)) return 'ext3';
  return has(FEATURES.incompatible, 0x4) ? 'ext4' : 'ext2'; // a journal to replay, and none: the driver refuses it
}

/** @returns undefined if it is none that is known */
export async function probe(device: BlockBackend): Promise<Probed | undefined> {
  const head = Buffer.alloc(Math.min(device.size, 0x11000));
  await device.read(head, 0);
  const found = MAGICS.find(({ offset, bytes }) => bytes.every((byte, index) => head[offset + index] === byte));
  if (!found) return undefined;
  const label = found.label && textAt(head, ...found.label);
  return {
    type: found.type === 'ext4' ? extOf(head) : found.type,
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
