/**
 * Describes trees as EROFS images, the read-only filesystem that Linux maps straight from a disk. The description is a
 * list of regions: contents are not copied, and an image can be served without being written.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html
 *
 *     block 0      superblock (from byte 1024 on), inodes (64 bytes each, in the order of their paths)
 *     …            folders: blocks of entries, sorted by name
 *     …            contents, each from the start of a block; of large files, from the start of a huge page
 *
 * If the image is memory (DAX), a file that starts at a multiple of 2 MiB can be mapped with huge pages. The bytes
 * between files are holes in the image.
 *
 * With `tails`, content that does not fill a block (small files, the ends of others, folders, links) is stored behind
 * its inode. This saves space, and puts all of it at the start of the image, where a few large reads fetch it.
 *
 * Extended attributes are behind the inodes, or between inodes and folders if several files share one.
 *
 * Not supported: compression, sockets.
 */
import { createHash } from 'node:crypto';
import { isZero, regions, roundUp, writeImage, type Region } from '@nodeos/block';
import { modeOf, pathBytes, pathLength, writePath, type Entry, type Tree } from '@nodeos/tree';
import { crc32c } from './crc32c.js';
import { heldContent, isHeld, sourceOf } from './entry-content.js';
import { inodesOf, type Inode } from './erofs-tree.js';
import { encodeXattrs } from './erofs-xattrs.js';
import { uuidFrom } from './guid.js';

const BLOCK_BITS = 12;
const BLOCK = 1 << BLOCK_BITS;
const HUGE_PAGE = 2 << 20;
/** Offset in the image in bytes. The first KiB is left to boot loaders. */
const SUPERBLOCK = 1024;
const INODE_TABLE = SUPERBLOCK + 128;
/** Offsets in the superblock in bytes. */
const CHECKSUM = 4;
const XATTR_BLOCK = 44;
const UUID = 48;
/** Bytes that are read, hashed and written at once. */
const PIECE = 1 << 20;
/** Bytes of an image that is not kept in the page cache. */
const LARGE_IMAGE = 512 << 20;
const INODE_SIZE = 64;
const NID_UNIT = 32;
const DIRENT_SIZE = 12;
/** Blocks have numbers of 32 bits. */
const MAX_SIZE = 2 ** 32 * BLOCK;
const MAGIC = 0xe0f5e1e2;
const HAS_CHECKSUM = 1;
/** `i_format` of an inode of 64 bytes (version 1): content in blocks (layout 0), or in blocks and a tail (layout 2). */
const EXTENDED_PLAIN = 1;
const EXTENDED_INLINE = 5;

/** The type of an entry in its folder. */
const DIRENT_TYPES: Readonly<Record<Entry['type'], number>> = {
  file: 1,
  directory: 2,
  'character-device': 3,
  'block-device': 4,
  fifo: 5,
  symlink: 7,
};

export interface ErofsOptions {
  /** The size of the image is rounded up to a multiple of this, in bytes. Default: one block (4096). */
  readonly align?: number;
  /**
   * Store content that does not fill a block behind its inode: of all files, or of folders and links only. Such files
   * cannot be mapped with DAX. Default false.
   */
  readonly tails?: boolean | 'folders';
  /**
   * Decides where the contents of files start. It gets those that have one outside of the metadata, in the order of their
   * paths, folder by folder, and the first free byte; and gives the offset of each, a multiple of 4096. What is between them
   * is holes. Default: one behind the other.
   */
  readonly place?: (files: readonly PlacedFile[], start: number) => readonly number[];
}

/** A file whose content needs a place. */
export interface PlacedFile {
  readonly path: string;
  /** Bytes, at least 1. */
  readonly size: number;
}

/** The description of an image that need not be written. */
export interface ErofsImage {
  readonly regions: readonly Region[];
  /** Bytes. */
  readonly size: number;
  /** Bytes at the start of the image that hold the inodes, the attributes and the tails. */
  readonly metadata: number;
  /** Sets the UUID, 16 bytes, which are zeros by default. Must be called before the image is read. */
  identify(uuid: Uint8Array): void;
}

/**
 * Describes an image. The same tree gives the same bytes, in any order of its entries. A repeated entry replaces the
 * earlier one, and missing folders are made. The content of files of this machine, and of others above 1 MiB, stays where
 * it is; all other content is held in memory.
 * @throws RangeError for a name, a number or an attribute that the format cannot hold, for a file whose content does not have
 * its stated size (of contents above 1 MiB, when they are read), for an entry below something that is not a folder, for a
 * hard link to what is no earlier entry, and for places that are not free
 */
export async function erofs(tree: Tree | Iterable<Entry>, options: ErofsOptions = {}): Promise<ErofsImage> {
  const inodes = await inodesOf(tree);
  // A promise for each file would take longer than the rest.
  for (const inode of inodes) if (isHeld(inode.entry)) await readContent(inode);
  const xattrs = encodeXattrs(inodes.map(({ entry }) => entry));
  for (const inode of inodes) inode.xattrs = xattrs.behind(inode.entry);
  for (const inode of inodes) if (inode.names.length > 0) inode.size = folderSize(inode);
  const sharedAt = placeInodes(inodes, options.tails ?? false);
  const metadata = sharedAt + roundUp(xattrs.shared.length, BLOCK);
  for (const inode of inodes) if (inode.names.length > 0) inode.content = encodeFolder(inode);
  const end = placeBlocks(inodes, metadata, options.place);
  if (end > MAX_SIZE) throw new RangeError(`an image of ${end} bytes: EROFS has room for ${MAX_SIZE}`);
  const bytes = encodeMetadata(inodes, metadata, end);
  xattrs.shared.copy(bytes, sharedAt);
  if (xattrs.shared.length > 0) bytes.writeUInt32LE(sharedAt / BLOCK, SUPERBLOCK + XATTR_BLOCK);
  updateChecksum(bytes);
  const contents = inodes.filter((inode) => blocksLength(inode) > 0).map(blocksRegion);
  return {
    regions: [...headRegions(inodes, bytes), ...contents],
    size: roundUp(end, options.align ?? BLOCK),
    metadata,
    identify(uuid) {
      bytes.set(uuid, SUPERBLOCK + UUID);
      updateChecksum(bytes);
    },
  };
}

/**
 * Writes an image, completely or not at all. Its UUID is derived from its content, so different images have different
 * UUIDs.
 * @returns the size of the image in bytes
 * @throws the errors of `erofs` and of writing the file
 */
export async function writeErofs(
  tree: Tree | Iterable<Entry>,
  path: string,
  options: ErofsOptions = {},
): Promise<number> {
  const image = await erofs(tree, options);
  const disk = regions(image.regions, { size: image.size });
  const digests = new Map<number, Buffer>();
  try {
    await writeImage(disk, path, {
      unit: PIECE,
      direct: image.size >= LARGE_IMAGE,
      onRead(bytes, offset) {
        if (!isZero(bytes)) digests.set(offset, createHash('sha256').update(bytes).digest());
      },
      async complete(written) {
        image.identify(uuidOf(image.size, digests));
        const first = Buffer.alloc(BLOCK);
        await disk.read(first, 0);
        await written.write?.(first, 0);
      },
    });
  } finally {
    await disk.close();
  }
  return image.size;
}

/**
 * The first bits of a SHA-256 over the digests of the pieces that are not all zero, each after its offset. So holes need not
 * be read, zeros give the same whether they are holes or not, and threads share the work.
 */
function uuidOf(size: number, digests: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const hash = createHash('sha256').update(`${size}`);
  for (const [offset, digest] of [...digests].sort(([a], [b]) => a - b)) hash.update(` ${offset} `).update(digest);
  return uuidFrom(hash.digest());
}

/** Sets the offset of every inode, with its tail if both fit in one block. @returns the end in bytes */
function placeInodes(inodes: readonly Inode[], tails: boolean | 'folders'): number {
  let end = INODE_TABLE;
  for (const inode of inodes) {
    const tail = inode.size % BLOCK;
    const head = INODE_SIZE + inode.xattrs.length;
    const mayBehind = tails === 'folders' ? inode.entry.type !== 'file' : tails;
    inode.tail = mayBehind && head + tail <= BLOCK ? tail : 0;
    const length = head + inode.tail;
    if (inode.tail > 0 && (end % BLOCK) + length > BLOCK) end = roundUp(end, BLOCK);
    // The checksum covers the first block, and tails that are not held are not read here, so they must be outside it.
    if (inode.tail > 0 && !isHeld(inode.entry)) end = Math.max(end, BLOCK);
    inode.at = end;
    end = roundUp(end + length, NID_UNIT);
  }
  return roundUp(end, BLOCK);
}

/**
 * Assigns blocks to every content: first folders and links, then files, with large files last unless `place` decides. @returns
 * the end in bytes
 */
function placeBlocks(inodes: readonly Inode[], metadata: number, place: ErofsOptions['place']): number {
  const withBlocks = inodes.filter((inode) => blocksLength(inode) > 0);
  const isFile = ({ entry }: Inode): boolean => entry.type === 'file';
  const end = placeInTurn(
    withBlocks.filter((inode) => !isFile(inode)),
    metadata,
  );
  const files = withBlocks.filter(isFile);
  if (place) return placeFiles(files, end, place);
  const isLarge = ({ entry }: Inode): boolean => entry.size >= HUGE_PAGE;
  const small = files.filter((inode) => !isLarge(inode));
  return placeInTurn(files.filter(isLarge), placeInTurn(small, end), HUGE_PAGE);
}

function placeInTurn(inodes: readonly Inode[], start: number, align = BLOCK): number {
  let end = start;
  for (const inode of inodes) {
    end = roundUp(end, align);
    inode.block = end / BLOCK;
    end += roundUp(blocksLength(inode), BLOCK);
  }
  return end;
}

/** @throws RangeError for places that are no blocks, or not free */
function placeFiles(files: readonly Inode[], start: number, place: NonNullable<ErofsOptions['place']>): number {
  const offsets = place(
    files.map((inode) => ({ path: inode.entry.path, size: blocksLength(inode) })),
    start,
  );
  const placed = files.map((inode, index) => ({ inode, offset: offsets[index] ?? NaN }));
  let end = start;
  for (const { inode, offset } of placed.sort((a, b) => a.offset - b.offset)) {
    if (!(offset >= end && Number.isInteger(offset / BLOCK)))
      throw new RangeError(
        `${inode.entry.path}: byte ${offset} is no free block of ${BLOCK} bytes: they begin at ${end}`,
      );
    inode.block = offset / BLOCK;
    end = offset + roundUp(blocksLength(inode), BLOCK);
  }
  return end;
}

/** Bytes of the content without its tail. */
const blocksLength = ({ size, tail }: Inode): number => size - tail;

/** The names of each block of a folder, and the bytes that they take. */
function* blocksOf({ names }: Inode): Generator<{ names: Inode['names']; length: number }> {
  for (let from = 0, to = 0; from < names.length; from = to) {
    let length = 0;
    for (; to < names.length; to++) {
      const next = DIRENT_SIZE + pathLength(names[to]?.name ?? '');
      if (length + next > BLOCK) break;
      length += next;
    }
    yield { names: names.slice(from, to), length };
  }
}

/** Bytes of a folder. All blocks but the last are whole: zeros end the last name. */
function folderSize(inode: Inode): number {
  let size = 0;
  for (const { length } of blocksOf(inode)) size = roundUp(size, BLOCK) + length;
  return size;
}

/** Blocks of entries, followed by their names, in the byte order of the names. `.` and `..` are included. */
function encodeFolder(inode: Inode): Buffer {
  const bytes = Buffer.alloc(inode.size);
  let start = 0;
  for (const { names } of blocksOf(inode)) {
    encodeEntries(names, bytes.subarray(start));
    start += BLOCK;
  }
  return bytes;
}

function encodeEntries(names: Inode['names'], block: Buffer): void {
  let nameAt = names.length * DIRENT_SIZE;
  for (const [index, { name, inode }] of names.entries()) {
    const at = index * DIRENT_SIZE;
    writeUint64(block, nidOf(inode), at);
    block.writeUInt16LE(nameAt, at + 8);
    block.writeUInt8(DIRENT_TYPES[inode.entry.type], at + 10);
    nameAt += writePath(name, block, nameAt);
  }
}

/** The number of an inode: its offset in the image in units of 32 bytes. */
const nidOf = ({ at }: Inode): number => at / NID_UNIT;

/** Behind the inode and its attributes. */
const tailAt = ({ at, xattrs }: Inode): number => at + INODE_SIZE + xattrs.length;

/** The start of the image up to the end of the inodes, without the tails that are not held in memory. */
function encodeMetadata(inodes: readonly Inode[], metadata: number, end: number): Buffer {
  const bytes = Buffer.alloc(metadata);
  for (const inode of inodes) {
    encodeInode(inode, bytes);
    inode.xattrs.copy(bytes, inode.at + INODE_SIZE);
    if (inode.tail > 0) inode.content?.copy(bytes, tailAt(inode), blocksLength(inode));
  }
  const superblock = bytes.subarray(SUPERBLOCK, INODE_TABLE);
  superblock.writeUInt32LE(MAGIC, 0);
  superblock.writeUInt32LE(HAS_CHECKSUM, 8);
  superblock.writeUInt8(BLOCK_BITS, 12);
  superblock.writeUInt16LE((inodes[0]?.at ?? 0) / NID_UNIT, 14); // the root is the first inode
  superblock.writeBigUInt64LE(BigInt(inodes.length), 16);
  superblock.writeUInt32LE(end / BLOCK, 36);
  return bytes;
}

/** Sets the checksum of the superblock, over the rest of its block with zeros in the checksum field. */
function updateChecksum(bytes: Buffer): void {
  bytes.writeUInt32LE(0, SUPERBLOCK + CHECKSUM);
  bytes.writeUInt32LE(crc32c(bytes.subarray(SUPERBLOCK, BLOCK)), SUPERBLOCK + CHECKSUM);
}

function encodeInode(inode: Inode, bytes: Buffer): void {
  const { at, entry, number, block } = inode;
  const [major, minor] = entry.rdev ?? [0, 0];
  bytes.writeUInt16LE(inode.tail > 0 ? EXTENDED_INLINE : EXTENDED_PLAIN, at);
  // In units of 4 bytes, of which the header of attributes counts as one.
  if (inode.xattrs.length > 0) bytes.writeUInt16LE((inode.xattrs.length - 12) / 4 + 1, at + 2);
  bytes.writeUInt16LE(modeOf(entry), at + 4);
  writeUint64(bytes, inode.size, at + 8);
  // In the kernel's encoding of device numbers (new_encode_dev in include/linux/kdev_t.h).
  bytes.writeUInt32LE(entry.rdev ? ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0 : block, at + 16);
  bytes.writeUInt32LE(number + 1, at + 20);
  bytes.writeUInt32LE(entry.uid, at + 24);
  bytes.writeUInt32LE(entry.gid, at + 28);
  if (entry.mtime !== 0) bytes.writeBigInt64LE(BigInt(Math.floor(entry.mtime)), at + 32); // the kernel reads it as signed
  bytes.writeUInt32LE(entry.nanoseconds ?? 0, at + 40);
  bytes.writeUInt32LE(inode.links, at + 44);
}

/** A safe integer. A BigInt for each number of each file would take longer than all the rest of it. */
function writeUint64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** Sets what is held in memory: links, and small files that are none of this machine. */
async function readContent(inode: Inode): Promise<void> {
  const { type, link } = inode.entry;
  inode.content = type === 'symlink' ? pathBytes(link ?? '') : await heldContent(inode.entry);
  inode.size = inode.content?.length ?? 0;
}

/** The start of the image as regions: the tails that are not held in memory, and the bytes between them. */
function headRegions(inodes: readonly Inode[], bytes: Buffer): Region[] {
  const all: Region[] = [];
  let written = 0;
  const pushBefore = (offset: number): void => {
    if (offset > written) all.push(bytesRegion(written, bytes.subarray(written, offset)));
  };
  for (const inode of inodes) {
    if (inode.tail === 0 || isHeld(inode.entry)) continue;
    const offset = tailAt(inode);
    pushBefore(offset);
    all.push({ offset, length: inode.tail, source: sourceOf(inode.entry, blocksLength(inode)) });
    written = offset + inode.tail;
  }
  pushBefore(bytes.length);
  return all;
}

function blocksRegion(inode: Inode): Region {
  const offset = inode.block * BLOCK;
  const length = blocksLength(inode);
  if (inode.content) return bytesRegion(offset, inode.content.subarray(0, length));
  return { offset, length, source: sourceOf(inode.entry, 0) };
}

const bytesRegion = (offset: number, bytes: Buffer): Region => ({ offset, length: bytes.length, source: bytes });
