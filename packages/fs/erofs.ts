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
 * Not supported: reading images, compression, extended attributes, hard links.
 */
import { createHash } from 'node:crypto';
import { extentsOf, isZero, pieces, regions, roundUp, writeImage, type BlockBackend, type Region } from '@nodeos/block';
import { directory, modeOf, type Entry, type Tree } from '@nodeos/tree';
import { crc32c } from './crc32c.js';
import { heldContent, hostSource } from './entry-content.js';
import { uuidFrom } from './guid.js';
import { growTree, type TreeFormat } from './nodes.js';

const BLOCK_BITS = 12;
const BLOCK = 1 << BLOCK_BITS;
const HUGE_PAGE = 2 << 20;
/** Offset in the image in bytes. The first KiB is left to boot loaders. */
const SUPERBLOCK = 1024;
const INODE_TABLE = SUPERBLOCK + 128;
/** Offsets in the superblock in bytes. */
const CHECKSUM = 4;
const UUID = 48;
/** Bytes to read at once. */
const PIECE = 1 << 20;
const INODE_SIZE = 64;
const NID_UNIT = 32;
const DIRENT_SIZE = 12;
const MAX_NAME = 255;
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

interface Inode {
  entry: Entry;
  /** Entries by name. */
  readonly children: Map<string, Inode>;
  /** The position in the inode table. */
  number: number;
  /** Undefined for a file of this machine. */
  content?: Buffer;
  /** Bytes at the end of the content that are stored behind the inode. */
  tail: number;
  /** Offset of the inode in bytes. */
  at: number;
  /** Number of the first block. */
  block: number;
}

export interface ErofsOptions {
  /** The size of the image is rounded up to a multiple of this, in bytes. Default: one block (4096). */
  readonly align?: number;
  /** Store content that does not fill a block behind its inode. Such files cannot be mapped with DAX. Default false. */
  readonly tails?: boolean;
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

/**
 * Describes an image. The same tree gives the same bytes, in any order of its entries. A repeated entry replaces the
 * earlier one, and missing folders are made. The content of files of this machine stays where it is; all other content
 * is held in memory.
 * @throws RangeError for a name or a number that the format cannot hold, for a file whose content does not have its
 * stated size, and for an entry below something that is not a folder
 */
export async function erofs(tree: Tree | Iterable<Entry>, options: ErofsOptions = {}): Promise<ErofsImage> {
  const root = await growTree(inodeOf(directory('')), tree, FORMAT);
  const inodes = numbered(root);
  await Promise.all(inodes.map(readContent));
  setContents(root, root);
  const metadata = placeInodes(inodes, options.tails ?? false);
  setContents(root, root); // folders contain the offsets of their entries
  const end = placeBlocks(inodes, metadata);
  const bytes = encodeMetadata(inodes, metadata, end);
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
  try {
    image.identify(await uuidOf(disk));
    await writeImage(disk, path);
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

const FORMAT: TreeFormat<Inode> = {
  childOf(folder, name, path, entry) {
    checkName(name, entry);
    const child = folder.children.get(name) ?? inodeOf(directory(path()));
    folder.children.set(name, child);
    return child;
  },
  refusal: (path, reason) => new RangeError(`${path}: ${reason}`),
};

const inodeOf = (entry: Entry): Inode => ({ entry, children: new Map(), number: 0, tail: 0, at: 0, block: 0 });

function checkName(name: string, entry: Entry): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > MAX_NAME || name === '.' || name === '..' || name.includes('\0'))
    throw new RangeError(`${JSON.stringify(entry.path)}: EROFS has no room for the name ${JSON.stringify(name)}`);
}

/** All inodes, each folder before its contents. */
function numbered(inode: Inode, all: Inode[] = []): Inode[] {
  inode.number = all.length;
  all.push(inode);
  for (const [, child] of sorted(inode.children)) numbered(child, all);
  return all;
}

const sorted = (children: ReadonlyMap<string, Inode>): [string, Inode][] =>
  [...children].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

/** Sets the content of folders and links. */
function setContents(inode: Inode, parent: Inode): void {
  const { type, link } = inode.entry;
  if (type === 'symlink') inode.content = Buffer.from(link ?? '');
  else if (type === 'directory') inode.content = encodeFolder(inode, parent);
  for (const child of inode.children.values()) setContents(child, inode);
}

/** Sets the offset of every inode, with its tail if both fit in one block. @returns the end in bytes */
function placeInodes(inodes: readonly Inode[], tails: boolean): number {
  let end = INODE_TABLE;
  for (const inode of inodes) {
    const tail = sizeOf(inode) % BLOCK;
    inode.tail = tails && INODE_SIZE + tail <= BLOCK ? tail : 0;
    const length = INODE_SIZE + inode.tail;
    if (inode.tail > 0 && (end % BLOCK) + length > BLOCK) end = roundUp(end, BLOCK);
    // The checksum covers the first block, and tails of this machine's files are not read here, so they must be outside
    // it.
    if (inode.tail > 0 && inode.entry.host) end = Math.max(end, BLOCK);
    inode.at = end;
    end = roundUp(end + length, NID_UNIT);
  }
  return roundUp(end, BLOCK);
}

/**
 * Assigns blocks to every content: first folders and links, then files, with large files last. @returns the end in
 * bytes
 */
function placeBlocks(inodes: readonly Inode[], metadata: number): number {
  let end = metadata;
  const rank = ({ entry }: Inode): number => (entry.type !== 'file' ? 0 : entry.size < HUGE_PAGE ? 1 : 2);
  for (const inode of [...inodes].sort((a, b) => rank(a) - rank(b) || a.number - b.number)) {
    if (blocksLength(inode) === 0) continue;
    if (rank(inode) === 2) end = roundUp(end, HUGE_PAGE);
    inode.block = end / BLOCK;
    end += roundUp(blocksLength(inode), BLOCK);
  }
  return end;
}

const sizeOf = ({ content, entry }: Inode): number => content?.length ?? (entry.type === 'file' ? entry.size : 0);

/** Bytes of the content without its tail. */
const blocksLength = (inode: Inode): number => sizeOf(inode) - inode.tail;

/** Blocks of entries, followed by their names, in the byte order of the names. `.` and `..` are included. */
function encodeFolder(inode: Inode, parent: Inode): Buffer {
  const entries = sorted(new Map([...inode.children, ['.', inode], ['..', parent]]));
  const blocks: Buffer[] = [];
  for (let from = 0, to = 0; from < entries.length; from = to) {
    for (let used = 0; to < entries.length; to++) {
      used += DIRENT_SIZE + Buffer.byteLength(entries[to]?.[0] ?? '');
      if (used > BLOCK) break;
    }
    const block = encodeEntries(entries.slice(from, to));
    // All blocks but the last are padded: zeros end the last name.
    blocks.push(to < entries.length ? Buffer.concat([block, Buffer.alloc(BLOCK - block.length)]) : block);
  }
  return Buffer.concat(blocks);
}

function encodeEntries(entries: readonly [string, Inode][]): Buffer {
  const names = entries.map(([name]) => Buffer.from(name));
  const table = Buffer.alloc(entries.length * DIRENT_SIZE);
  let nameAt = table.length;
  for (const [index, [, inode]] of entries.entries()) {
    const at = index * DIRENT_SIZE;
    table.writeBigUInt64LE(BigInt(nidOf(inode)), at);
    table.writeUInt16LE(nameAt, at + 8);
    table.writeUInt8(DIRENT_TYPES[inode.entry.type], at + 10);
    nameAt += names[index]?.length ?? 0;
  }
  return Buffer.concat([table, ...names]);
}

/** The number of an inode: its offset in the image in units of 32 bytes. */
const nidOf = ({ at }: Inode): number => at / NID_UNIT;

/** The start of the image up to the end of the inodes, without the tails of this machine's files. */
function encodeMetadata(inodes: readonly Inode[], metadata: number, end: number): Buffer {
  const bytes = Buffer.alloc(metadata);
  for (const inode of inodes) {
    encodeInode(inode).copy(bytes, inode.at);
    if (inode.tail > 0) inode.content?.copy(bytes, inode.at + INODE_SIZE, blocksLength(inode));
  }
  const superblock = bytes.subarray(SUPERBLOCK, INODE_TABLE);
  superblock.writeUInt32LE(MAGIC, 0);
  superblock.writeUInt32LE(HAS_CHECKSUM, 8);
  superblock.writeUInt8(BLOCK_BITS, 12);
  superblock.writeUInt16LE(INODE_TABLE / NID_UNIT, 14); // the root is the first inode
  superblock.writeBigUInt64LE(BigInt(inodes.length), 16);
  superblock.writeUInt32LE(end / BLOCK, 36);
  updateChecksum(bytes);
  return bytes;
}

/** Sets the checksum of the superblock, over the rest of its block with zeros in the checksum field. */
function updateChecksum(bytes: Buffer): void {
  bytes.writeUInt32LE(0, SUPERBLOCK + CHECKSUM);
  bytes.writeUInt32LE(crc32c(bytes.subarray(SUPERBLOCK, BLOCK)), SUPERBLOCK + CHECKSUM);
}

function encodeInode(inode: Inode): Buffer {
  const { entry, children, number, block } = inode;
  const bytes = Buffer.alloc(INODE_SIZE);
  const [major, minor] = entry.rdev ?? [0, 0];
  const folders = [...children.values()].filter((child) => child.entry.type === 'directory').length;
  bytes.writeUInt16LE(inode.tail > 0 ? EXTENDED_INLINE : EXTENDED_PLAIN, 0);
  bytes.writeUInt16LE(modeOf(entry), 4);
  bytes.writeBigUInt64LE(BigInt(sizeOf(inode)), 8);
  // In the kernel's encoding of device numbers (new_encode_dev in include/linux/kdev_t.h).
  bytes.writeUInt32LE(entry.rdev ? ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0 : block, 16);
  bytes.writeUInt32LE(number + 1, 20);
  bytes.writeUInt32LE(entry.uid, 24);
  bytes.writeUInt32LE(entry.gid, 28);
  bytes.writeBigInt64LE(BigInt(Math.floor(entry.mtime)), 32); // the kernel reads it as signed
  bytes.writeUInt32LE(entry.type === 'directory' ? 2 + folders : 1, 44);
  return bytes;
}

async function readContent(inode: Inode): Promise<void> {
  const content = await heldContent(inode.entry);
  if (content) inode.content = content;
}

/** The start of the image as regions: the tails of this machine's files, and the bytes between them. */
function headRegions(inodes: readonly Inode[], bytes: Buffer): Region[] {
  const all: Region[] = [];
  let written = 0;
  const pushBefore = (offset: number): void => {
    if (offset > written) all.push({ offset: written, ...bytesRegion(bytes.subarray(written, offset)) });
  };
  for (const inode of inodes) {
    if (inode.tail === 0 || !inode.entry.host) continue;
    const offset = inode.at + INODE_SIZE;
    pushBefore(offset);
    all.push({ offset, length: inode.tail, source: hostSource(inode.entry, blocksLength(inode)) });
    written = offset + inode.tail;
  }
  pushBefore(bytes.length);
  return all;
}

function blocksRegion(inode: Inode): Region {
  const offset = inode.block * BLOCK;
  const length = blocksLength(inode);
  if (inode.content) return { offset, ...bytesRegion(inode.content.subarray(0, length)) };
  return { offset, length, source: hostSource(inode.entry, 0) };
}

const bytesRegion = (bytes: Buffer): Region => ({ length: bytes.length, source: bytes });
