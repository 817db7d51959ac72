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
 * With `groups`, files lie in slots of 512 KiB, so that blocks of that size are the same in the next version of a tree
 * unless their files have changed. Slots are not full, so the image is sparse.
 *
 * Not supported: compression.
 */
import { createHash } from 'node:crypto';
import { extentsOf, isZero, pieces, regions, roundUp, writeImage, type BlockBackend, type Region } from '@nodeos/block';
import { modeOf, type Entry, type Tree } from '@nodeos/tree';
import { crc32c } from './crc32c.js';
import { hostSource } from './entry-content.js';
import { encodeFolder } from './erofs-folder.js';
import { BLOCK, BLOCK_BITS, EXTENDED, INLINE, MAGIC, NID_UNIT, PLAIN, SUPERBLOCK } from './erofs-format.js';
import { inodesOf, type Inode } from './erofs-inodes.js';
import { INODE_TABLE, place, sizeOf, tailAt } from './erofs-layout.js';
import { countOf } from './erofs-xattrs.js';
import { uuidFrom } from './guid.js';

/** Offsets in the superblock in bytes. */
const CHECKSUM = 4;
const UUID = 48;
/** Bytes to read at once. */
const PIECE = 1 << 20;
const HAS_CHECKSUM = 1;
/** Bit 0 of `i_format`: an inode of 64 bytes. The layout of the content is above it. */
const IS_EXTENDED = 1;

export interface ErofsOptions {
  /** The size of the image is rounded up to a multiple of this, in bytes. Default: one block (4096). */
  readonly align?: number;
  /** Store content that does not fill a block behind its inode. Such files cannot be mapped with DAX. Default false. */
  readonly tails?: boolean;
  /**
   * Files lie in slots of `SLOT` bytes: one of 128 KiB or more alone, smaller ones in groups. Content of folders and
   * links is stored behind inodes. `tails` has no meaning then. Default false.
   */
  readonly groups?: boolean;
}

/** The description of an image that need not be written. */
export interface ErofsImage {
  readonly regions: readonly Region[];
  /** Bytes. */
  readonly size: number;
  /** Bytes at the start of the image that hold the inodes and the tails. */
  readonly metadata: number;
  /** Sets the UUID, 16 bytes, which are zeros by default. Must be called before the image is read. */
  identify(uuid: Uint8Array): void;
}

/** An inode with the length of its content in bytes. */
interface Described {
  readonly inode: Inode;
  readonly size: number;
}

/**
 * Describes an image. The same tree gives the same bytes, in any order of its entries. A repeated entry replaces the
 * earlier one, and missing folders are made. The content of files of this machine stays where it is; all other content
 * is held in memory.
 * @throws RangeError for a name, an attribute or a number that the format cannot hold, for a file whose content does not
 * have its stated size, and for an entry below something that is not a folder
 */
export async function erofs(tree: Tree | Iterable<Entry>, options: ErofsOptions = {}): Promise<ErofsImage> {
  const { align = BLOCK, tails = false, groups = false } = options;
  const inodes = await inodesOf(tree);
  const sizes = inodes.map(sizeOf);
  const { metadata, end } = place(inodes, sizes, { tails, groups });
  // Folders contain the places of their entries.
  for (const inode of inodes) if (inode.entry.type === 'directory') inode.content = encodeFolder(inode);
  const described = inodes.map((inode, index): Described => ({ inode, size: sizes[index] ?? 0 }));
  const bytes = encodeMetadata(described, metadata, end);
  const contents = described.filter((one) => blocksLength(one) > 0).map(blocksRegion);
  return {
    regions: [...headRegions(described, bytes), ...contents],
    size: roundUp(end, align),
    metadata,
    identify(uuid) {
      bytes.set(uuid, SUPERBLOCK.at + UUID);
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
  const first = Buffer.alloc(BLOCK);
  try {
    await writeImage(disk, path, {
      // What was written is in memory, while each file would have to be opened again.
      complete: async (written) => {
        image.identify(await uuidOf(written));
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
 * The first bits of a SHA-256 over the pieces that are not all zero, each after its offset. So holes need not be read, and
 * zeros give the same whether they are holes or not.
 */
async function uuidOf(disk: BlockBackend): Promise<Uint8Array> {
  const hash = createHash('sha256').update(`${disk.size}`);
  const buffer = Buffer.alloc(PIECE);
  for (const [offset, length] of pieces(0, disk.size, PIECE)) {
    if ((await extentsOf(disk, offset, length)).every(({ zero }) => zero)) continue;
    const bytes = buffer.subarray(0, length);
    await disk.read(bytes, offset);
    if (!isZero(bytes)) hash.update(` ${offset} `).update(bytes);
  }
  return uuidFrom(hash.digest());
}

/** Bytes of the content without its tail. */
const blocksLength = ({ inode, size }: Described): number => size - inode.tail;

/** The start of the image up to the end of the inodes, without the tails of this machine's files. */
function encodeMetadata(all: readonly Described[], metadata: number, end: number): Buffer {
  const bytes = Buffer.alloc(metadata);
  for (const one of all) {
    const { inode } = one;
    encodeInode(one, bytes.subarray(inode.at, inode.at + EXTENDED.length));
    inode.xattrs.copy(bytes, inode.at + EXTENDED.length);
    if (inode.tail > 0) inode.content?.copy(bytes, tailAt(inode), blocksLength(one));
  }
  const superblock = bytes.subarray(SUPERBLOCK.at, INODE_TABLE);
  superblock.writeUInt32LE(MAGIC, 0);
  superblock.writeUInt32LE(HAS_CHECKSUM, 8);
  superblock.writeUInt8(BLOCK_BITS, 12);
  superblock.writeUInt16LE((all[0]?.inode.at ?? 0) / NID_UNIT, 14); // the root is the first inode
  superblock.writeBigUInt64LE(BigInt(all.length), 16);
  superblock.writeUInt32LE(end / BLOCK, 36);
  updateChecksum(bytes);
  return bytes;
}

/** Sets the checksum of the superblock, over the rest of its block with zeros in the checksum field. */
function updateChecksum(bytes: Buffer): void {
  bytes.writeUInt32LE(0, SUPERBLOCK.at + CHECKSUM);
  bytes.writeUInt32LE(crc32c(bytes.subarray(SUPERBLOCK.at, BLOCK)), SUPERBLOCK.at + CHECKSUM);
}

function encodeInode({ inode, size }: Described, bytes: Buffer): void {
  const { entry, children, number, block, links, xattrs } = inode;
  const [major, minor] = entry.rdev ?? [0, 0];
  const folders = children.filter((child) => child.inode.entry.type === 'directory').length;
  bytes.writeUInt16LE(IS_EXTENDED | ((inode.tail > 0 ? INLINE : PLAIN) << 1), 0);
  bytes.writeUInt16LE(countOf(xattrs), 2);
  bytes.writeUInt16LE(modeOf(entry), 4);
  bytes.writeBigUInt64LE(BigInt(size), 8);
  // In the kernel's encoding of device numbers (new_encode_dev in include/linux/kdev_t.h).
  bytes.writeUInt32LE(entry.rdev ? ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0 : block, 16);
  bytes.writeUInt32LE(number + 1, 20);
  bytes.writeUInt32LE(entry.uid, 24);
  bytes.writeUInt32LE(entry.gid, 28);
  bytes.writeBigInt64LE(BigInt(Math.floor(entry.mtime)), 32); // the kernel reads it as signed
  bytes.writeUInt32LE(entry.nanoseconds ?? 0, 40);
  bytes.writeUInt32LE(entry.type === 'directory' ? 2 + folders : links, 44);
}

/** The start of the image as regions: the tails of this machine's files, and the bytes between them. */
function headRegions(all: readonly Described[], bytes: Buffer): Region[] {
  const found: Region[] = [];
  let written = 0;
  const pushBefore = (offset: number): void => {
    if (offset > written) found.push({ offset: written, ...bytesRegion(bytes.subarray(written, offset)) });
  };
  for (const one of all) {
    const { inode } = one;
    if (inode.tail === 0 || !inode.entry.host) continue;
    const offset = tailAt(inode);
    pushBefore(offset);
    found.push({ offset, length: inode.tail, source: hostSource(inode.entry, blocksLength(one)) });
    written = offset + inode.tail;
  }
  pushBefore(bytes.length);
  return found;
}

function blocksRegion(one: Described): Region {
  const { inode } = one;
  const offset = inode.block * BLOCK;
  const length = blocksLength(one);
  if (inode.content) return { offset, ...bytesRegion(inode.content.subarray(0, length)) };
  return { offset, length, source: hostSource(inode.entry, 0) };
}

const bytesRegion = (bytes: Buffer): Region => ({ length: bytes.length, source: bytes });
