/** Where everything lies in an EROFS image. */
import { createHash } from 'node:crypto';
import { roundUp } from '@nodeos/block';
import { pathBytes } from '@nodeos/tree';
import { folderSize } from './erofs-folder.js';
import { BLOCK, EXTENDED, NID_UNIT, SUPERBLOCK } from './erofs-format.js';
import type { Inode } from './erofs-inodes.js';

export const INODE_TABLE = SUPERBLOCK.at + SUPERBLOCK.length;
const HUGE_PAGE = 2 << 20;

/** Bytes of a slot of the layout in groups. */
export const SLOT = 512 << 10;
/** Bytes of a file that stands alone; also the mean size of a group. */
const ALONE = 128 << 10;
/** Bytes that a group has before it may end, and after which it ends. */
const [SMALLEST, LARGEST] = [16 << 10, 256 << 10];

export interface Layout {
  /** Content that does not fill a block is stored behind its inode. */
  readonly tails: boolean;
  readonly groups: boolean;
}

export interface Placed {
  /** The end of the inodes and their tails in bytes. */
  readonly metadata: number;
  /** The end of the image in bytes. */
  readonly end: number;
}

/** Bytes of the content. */
export function sizeOf(inode: Inode): number {
  if (inode.entry.type === 'directory') return folderSize(inode);
  return inode.content?.length ?? (inode.entry.type === 'file' ? inode.entry.size : 0);
}

/** Offset in bytes of what is stored behind an inode. */
export const tailAt = ({ at, xattrs }: Inode): number => at + EXTENDED.length + xattrs.length;

/** Sets the places of all inodes and their contents. */
export function place(inodes: readonly Inode[], sizes: readonly number[], { tails, groups }: Layout): Placed {
  const hasTail = ({ entry }: Inode): boolean => (groups ? entry.type !== 'file' : tails);
  const metadata = placeInodes(inodes, sizes, hasTail);
  const blocks = inodes.filter((inode, index) => (sizes[index] ?? 0) > inode.tail);
  const lengthOf = (inode: Inode): number => (sizes[inode.number] ?? 0) - inode.tail;
  const end = groups ? placeGroups(blocks, metadata, lengthOf) : placeBlocks(blocks, metadata, lengthOf);
  return { metadata, end };
}

/** Sets the offset of every inode, with its tail if that fits in one block. @returns the end in bytes */
function placeInodes(inodes: readonly Inode[], sizes: readonly number[], hasTail: (inode: Inode) => boolean): number {
  let end = INODE_TABLE;
  for (const inode of inodes) {
    const head = EXTENDED.length + inode.xattrs.length;
    const tail = (sizes[inode.number] ?? 0) % BLOCK;
    inode.tail = hasTail(inode) && EXTENDED.length + tail <= BLOCK ? tail : 0;
    if (inode.tail > 0) end = inRoom(end, head, inode.tail);
    // The checksum covers the first block, and tails of this machine's files are not read here, so they must be outside
    // it.
    if (inode.tail > 0 && inode.entry.host) end = Math.max(end, BLOCK);
    inode.at = end;
    end = roundUp(end + head + inode.tail, NID_UNIT);
  }
  return roundUp(end, BLOCK);
}

/** The first place for an inode whose tail is to lie within one block; with the inode, if both fit. */
function inRoom(end: number, head: number, tail: number): number {
  if (head + tail <= BLOCK) return (end % BLOCK) + head + tail > BLOCK ? roundUp(end, BLOCK) : end;
  if (((end + head) % BLOCK) + tail <= BLOCK) return end;
  return roundUp(end + head, BLOCK) - Math.floor(head / NID_UNIT) * NID_UNIT;
}

type LengthOf = (inode: Inode) => number;

/** First folders and links, then files, with large files last. @returns the end in bytes */
function placeBlocks(inodes: readonly Inode[], metadata: number, lengthOf: LengthOf): number {
  let end = metadata;
  const rank = ({ entry }: Inode): number => (entry.type !== 'file' ? 0 : entry.size < HUGE_PAGE ? 1 : 2);
  for (const inode of [...inodes].sort((a, b) => rank(a) - rank(b) || a.number - b.number)) {
    if (rank(inode) === 2) end = roundUp(end, HUGE_PAGE);
    inode.block = end / BLOCK;
    end += roundUp(lengthOf(inode), BLOCK);
  }
  return end;
}

/**
 * Files in groups, each at the start of a slot, so that a change of a file moves no other. Where a group ends depends on
 * the path and the size of its last file alone. Large files stand alone.
 * @returns the end in bytes
 */
function placeGroups(inodes: readonly Inode[], metadata: number, lengthOf: LengthOf): number {
  const isFile = ({ entry }: Inode): boolean => entry.type === 'file';
  let end = placeBlocks(
    inodes.filter((inode) => !isFile(inode)),
    metadata,
    lengthOf,
  );
  const slots = (length: number): number => {
    const at = roundUp(end, SLOT);
    end = at + length;
    return at;
  };
  let group: { readonly at: number; used: number } | undefined;
  for (const inode of inodes.filter(isFile)) {
    const length = roundUp(lengthOf(inode), BLOCK);
    if (length >= ALONE) {
      inode.block = slots(length) / BLOCK;
      continue;
    }
    group ??= { at: slots(SLOT), used: 0 };
    inode.block = (group.at + group.used) / BLOCK;
    group.used += length;
    if (group.used >= LARGEST || (group.used >= SMALLEST && chance(inode.entry.path) < length / ALONE))
      group = undefined;
  }
  return end;
}

/** A number from 0 to 1 that only depends on the path. */
const chance = (path: string): number =>
  createHash('sha256').update(pathBytes(path)).digest().readUInt32BE(0) / 2 ** 32;
