/**
 * Trees as EROFS images, the read-only filesystem that Linux maps straight from a disk, described as regions: contents
 * are not copied, and an image can be served without being written.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html
 *
 *     block 0      superblock (from byte 1024 on), inodes (64 bytes each, in the order of their paths)
 *     …            folders: blocks of entries, sorted by name
 *     …            contents, each from the start of a block; of large files, from the start of a huge page
 *
 * A file that starts at a multiple of 2 MiB can be mapped with huge pages where the image is memory (DAX); the bytes
 * between are holes in the image.
 *
 * Leaves out: reading images, compression, tails beside the inodes, extended attributes, hard links.
 */
import { regions, writeImage, type Region } from '@nodeos/block';
import { directory, modeOf, type Entry, type Tree } from '@nodeos/tree';
import { crc32c } from './crc32c.js';

const BLOCK_BITS = 12;
const BLOCK = 1 << BLOCK_BITS;
const HUGE_PAGE = 2 << 20;
/** Bytes from the image's start: the first KiB is left to boot loaders. */
const SUPERBLOCK = 1024;
const INODE_TABLE = SUPERBLOCK + 128;
const INODE_SIZE = 64;
const NID_UNIT = 32;
const DIRENT_SIZE = 12;
const MAX_NAME = 255;
const MAGIC = 0xe0f5e1e2;
const HAS_CHECKSUM = 1;
/** `i_format` of an inode of 64 bytes whose content is whole blocks: version 1, layout 0. */
const EXTENDED_PLAIN = 1;

/** An entry's type in its folder. */
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
  /** By name. */
  readonly children: Map<string, Inode>;
  /** In the order of the inode table. */
  number: number;
  /** What is in its blocks; undefined for a file, whose content is streamed. */
  content?: Buffer;
  /** Of the first block. */
  block: number;
}

export interface ErofsOptions {
  /** The image's size becomes a multiple of this many bytes. Default: one block. */
  readonly align?: number;
}

/** An image that is not written: what is where. */
export interface ErofsImage {
  readonly regions: readonly Region[];
  /** Bytes. */
  readonly size: number;
}

/**
 * Describes an image. The same tree gives the same bytes, in whatever order it comes. An entry that comes again replaces
 * the earlier one; folders that are missing are made. The content of files of this machine stays where it is; that of
 * others is held in memory.
 * @throws RangeError for a name or a number that the format cannot hold, and for a file whose content is not of its size
 */
export async function erofs(tree: Tree | Iterable<Entry>, options: ErofsOptions = {}): Promise<ErofsImage> {
  const root = await treeOf(tree);
  const inodes = numbered(root);
  describe(root, root);
  const end = layOut(inodes);
  const contents = await Promise.all(inodes.filter((inode) => sizeOf(inode) > 0).map(regionOf));
  const start: Region = { offset: 0, ...bytesRegion(head(inodes, end)) };
  return { regions: [start, ...contents], size: roundUp(end, options.align ?? BLOCK) };
}

/** Writes an image, whole or not at all. @returns its size in bytes @throws what `erofs` throws */
export async function writeErofs(
  tree: Tree | Iterable<Entry>,
  path: string,
  options: ErofsOptions = {},
): Promise<number> {
  const image = await erofs(tree, options);
  const disk = regions(image.regions, { size: image.size });
  try {
    await writeImage(disk, path);
  } finally {
    await disk.close();
  }
  return image.size;
}

async function treeOf(tree: Tree | Iterable<Entry>): Promise<Inode> {
  const root = inodeOf(directory(''));
  for await (const entry of tree) {
    const names = entry.path === '' ? [] : entry.path.split('/');
    let inode = root;
    for (const [depth, name] of names.entries()) {
      const child = inode.children.get(name) ?? inodeOf(directory(names.slice(0, depth + 1).join('/')));
      checkName(name, entry);
      if (inode.entry.type !== 'directory') throw new RangeError(`${entry.path}: ${inode.entry.path} is no folder`);
      inode.children.set(name, child);
      inode = child;
    }
    if (inode.children.size > 0 && entry.type !== 'directory')
      throw new RangeError(`${entry.path}: was a folder with something in it before`);
    inode.entry = entry;
  }
  return root;
}

const inodeOf = (entry: Entry): Inode => ({ entry, children: new Map(), number: 0, block: 0 });

function checkName(name: string, entry: Entry): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > MAX_NAME || name === '.' || name === '..' || name.includes('\0'))
    throw new RangeError(`${JSON.stringify(entry.path)}: EROFS has no room for the name ${JSON.stringify(name)}`);
}

/** Every inode, a folder before what is in it. */
function numbered(inode: Inode, all: Inode[] = []): Inode[] {
  inode.number = all.length;
  all.push(inode);
  for (const [, child] of sorted(inode.children)) numbered(child, all);
  return all;
}

const sorted = (children: ReadonlyMap<string, Inode>): [string, Inode][] =>
  [...children].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

/** Gives folders and links their content. */
function describe(inode: Inode, parent: Inode): void {
  const { type, link } = inode.entry;
  if (type === 'symlink') inode.content = Buffer.from(link ?? '');
  else if (type === 'directory') inode.content = encodeFolder(inode, parent);
  for (const child of inode.children.values()) describe(child, inode);
}

/** Gives every content its blocks: folders and links, then files, large ones last. @returns the end, in bytes */
function layOut(inodes: readonly Inode[]): number {
  let end = roundUp(INODE_TABLE + inodes.length * INODE_SIZE, BLOCK);
  const rank = (inode: Inode): number => (inode.content ? 0 : sizeOf(inode) < HUGE_PAGE ? 1 : 2);
  for (const inode of [...inodes].sort((a, b) => rank(a) - rank(b) || a.number - b.number)) {
    if (sizeOf(inode) === 0) continue;
    if (rank(inode) === 2) end = roundUp(end, HUGE_PAGE);
    inode.block = end / BLOCK;
    end += roundUp(sizeOf(inode), BLOCK);
  }
  return end;
}

const sizeOf = ({ content, entry }: Inode): number => content?.length ?? (entry.type === 'file' ? entry.size : 0);

/** Blocks of entries with their names behind them, in the order of the names' bytes, `.` and `..` among them. */
function encodeFolder(inode: Inode, parent: Inode): Buffer {
  const entries = sorted(new Map([...inode.children, ['.', inode], ['..', parent]]));
  const blocks: Buffer[] = [];
  for (let from = 0, to = 0; from < entries.length; from = to) {
    for (let used = 0; to < entries.length; to++) {
      used += DIRENT_SIZE + Buffer.byteLength(entries[to]?.[0] ?? '');
      if (used > BLOCK) break;
    }
    const block = encodeEntries(entries.slice(from, to));
    // All but the last block are whole: zeros end the last name.
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

/** An inode's place in the table, in units of 32 bytes from the image's start. */
const nidOf = ({ number }: Inode): number => (INODE_TABLE + number * INODE_SIZE) / NID_UNIT;

/** The start of the image, up to the end of the inode table. */
function head(inodes: readonly Inode[], end: number): Buffer {
  const bytes = Buffer.alloc(roundUp(INODE_TABLE + inodes.length * INODE_SIZE, BLOCK));
  for (const inode of inodes) encodeInode(inode).copy(bytes, INODE_TABLE + inode.number * INODE_SIZE);
  const superblock = bytes.subarray(SUPERBLOCK, INODE_TABLE);
  superblock.writeUInt32LE(MAGIC, 0);
  superblock.writeUInt32LE(HAS_CHECKSUM, 8);
  superblock.writeUInt8(BLOCK_BITS, 12);
  superblock.writeUInt16LE(INODE_TABLE / NID_UNIT, 14); // the root is the first inode
  superblock.writeBigUInt64LE(BigInt(inodes.length), 16);
  superblock.writeUInt32LE(end / BLOCK, 36);
  superblock.writeUInt32LE(crc32c(bytes.subarray(SUPERBLOCK, BLOCK)), 4);
  return bytes;
}

function encodeInode(inode: Inode): Buffer {
  const { entry, children, number, block } = inode;
  const bytes = Buffer.alloc(INODE_SIZE);
  const [major, minor] = entry.rdev ?? [0, 0];
  const folders = [...children.values()].filter((child) => child.entry.type === 'directory').length;
  bytes.writeUInt16LE(EXTENDED_PLAIN, 0);
  bytes.writeUInt16LE(modeOf(entry), 4);
  bytes.writeBigUInt64LE(BigInt(sizeOf(inode)), 8);
  // In the kernel's encoding of devices (new_encode_dev in include/linux/kdev_t.h).
  bytes.writeUInt32LE(entry.rdev ? ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0 : block, 16);
  bytes.writeUInt32LE(number + 1, 20);
  bytes.writeUInt32LE(entry.uid, 24);
  bytes.writeUInt32LE(entry.gid, 28);
  bytes.writeBigInt64LE(BigInt(Math.floor(entry.mtime)), 32); // the kernel reads it as signed
  bytes.writeUInt32LE(entry.type === 'directory' ? 2 + folders : 1, 44);
  return bytes;
}

async function regionOf(inode: Inode): Promise<Region> {
  const { entry, block } = inode;
  const offset = block * BLOCK;
  const size = sizeOf(inode);
  if (inode.content) return { offset, ...bytesRegion(inode.content) };
  if (entry.host) return { offset, length: size, source: { ...entry.host, size } };
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const bytes of entry.open?.() ?? []) {
    length += bytes.length;
    if (length > size) break;
    parts.push(Buffer.from(bytes));
  }
  if (length !== size) throw new RangeError(`${entry.path}: ${length} bytes instead of ${size}`);
  return { offset, ...bytesRegion(Buffer.concat(parts)) };
}

const bytesRegion = (bytes: Buffer): Region => ({ length: bytes.length, source: bytes });

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
