/**
 * Reads EROFS images that are not trusted: uncompressed ones, with contents in blocks or behind their inodes. Contents
 * are read when they are opened, in pieces of at most 1 MiB. https://erofs.docs.kernel.org/en/latest/core_ondisk.html
 *
 * Not supported: compressed contents and chunks (an error when they are opened). Sockets are left out.
 */
import { file, parsing, uint64LE, type BlockBackend, type Parsing } from '@nodeos/block';
import { pathOf, typeOf, type Entry, type Tree } from '@nodeos/tree';
import { bodyLength, xattrsIn } from './erofs-reader-xattrs.js';
import { placesFrom, type ImageReader, type Place } from './image.js';

const SUPERBLOCK = { at: 1024, length: 128 };
const MAGIC = 0xe0f5e1e2;
const NID_UNIT = 32;
const DIRENT = 12;
const MAX_ENTRIES = 1_000_000;
/** Bytes of a folder and of a link. */
const MAX_FOLDER = 64 << 20;
const MAX_LINK = 4096;
/** Bytes of a path, which also limit how deep folders are. */
const MAX_PATH = 4096;
/** In `st_mode`. */
const [TYPE_BITS, SOCKET] = [0o170000, 0o140000];
/** Layouts of contents. */
const [PLAIN, INLINE] = [0, 2];
/** Offsets in inodes, by their version. */
const COMPACT = { length: 32, size: 4, uid: 24, gid: 26, ids: 2, mtime: undefined, links: 6, linksSize: 2 };
const EXTENDED = { length: 64, size: 8, uid: 24, gid: 28, ids: 4, mtime: 32, links: 44, linksSize: 4 };
const BILLION = 1_000_000_000;

interface Volume {
  readonly input: Parsing;
  readonly blockSize: number;
  /** Bytes from the start of the image to inode 0. */
  readonly inodesAt: number;
  /** Where the attributes are that files share, in bytes from the start of the image. */
  readonly sharedAt: number;
  readonly time: Time;
}

/** Seconds, and nanoseconds behind them. */
type Time = Pick<Entry, 'mtime' | 'nanoseconds'>;

interface Inode {
  readonly nid: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly time: Time;
  /** Names that the file has. */
  readonly links: number;
  readonly size: number;
  readonly layout: number;
  /** The first block of the content, or the number of a device. */
  readonly union: number;
  /** What is behind the inode, in bytes from the start of the image: attributes, and then the tail of the content. */
  readonly xattrsAt: number;
  readonly tailAt: number;
}

export interface ErofsReader extends ImageReader {
  /**
   * One file by its path, without reading the others. Links are not followed, also not on the way.
   * @param path as in `entries`; empty for the root
   */
  find(path: string): Promise<Entry | undefined>;
}

/** @throws Error with the code EINVAL if it is no EROFS image or is damaged; `entries` and `find` throw the same */
export async function readErofs(device: BlockBackend): Promise<ErofsReader> {
  const input = parsing(device, 'erofs');
  const superblock = await superblockOf(input);
  const blockBits = superblock.readUInt8(12);
  if (blockBits < 9 || blockBits > 16) throw input.formatError(`blocks of 2^${blockBits} bytes`);
  const blockSize = 2 ** blockBits;
  const volume = {
    input,
    blockSize,
    inodesAt: superblock.readUInt32LE(40) * blockSize,
    sharedAt: superblock.readUInt32LE(44) * blockSize,
    time: timeAt(superblock, 24, input),
  };
  const root = await inodeOf(volume, superblock.readUInt16LE(14));
  const label = superblock.toString('utf8', 64, 80).replace(/[\0\p{Cc}].*$/su, '');
  return {
    format: 'erofs',
    label,
    entries: () => entriesOf(volume, root),
    find: (path) => findIn(volume, root, path),
  };
}

async function findIn(volume: Volume, root: Inode, path: string): Promise<Entry | undefined> {
  let inode = root;
  let folder = '';
  for (const wanted of path === '' ? [] : path.split('/')) {
    if (typeOf(inode.mode) !== 'directory') return undefined;
    let nid: number | undefined;
    for await (const found of namesIn(volume, { path: folder, inode })) if (found.name === wanted) nid = found.nid;
    if (nid === undefined) return undefined;
    inode = await inodeOf(volume, nid);
    folder = folder === '' ? wanted : `${folder}/${wanted}`;
  }
  return entryOf(volume, path, inode);
}

/**
 * The UUID of an image in a file, 16 bytes. `writeErofs` derives it from the contents.
 * @throws Error with the code EINVAL if it is no EROFS image; the errors of reading the file
 */
export async function erofsId(path: string): Promise<Buffer> {
  const device = await file(path, { readOnly: true });
  try {
    return (await superblockOf(parsing(device, 'erofs'))).subarray(48, 64);
  } finally {
    await device.close();
  }
}

async function superblockOf(input: Parsing): Promise<Buffer> {
  const superblock = await input.bytes(SUPERBLOCK.at, SUPERBLOCK.length, 'the superblock');
  if (superblock.readUInt32LE(0) !== MAGIC) throw input.formatError('this is no EROFS image');
  return superblock;
}

async function* entriesOf(volume: Volume, root: Inode): Tree {
  const { formatError, size } = volume.input;
  const pending = [{ path: '', inode: root }];
  const seen = new Set([root.nid]);
  const earlier = new Map<number, string>();
  let [count, read] = [0, 0];
  for (let folder = pending.pop(); folder; folder = pending.pop()) {
    const names = new Set<string>();
    // Each folder is somewhere in the image, so together they are not larger than it.
    read += folder.inode.size;
    if (read > size) throw formatError('the folders are larger than the image');
    for await (const { name, nid } of namesIn(volume, folder)) {
      const path = folder.path === '' ? name : `${folder.path}/${name}`;
      if (names.has(name)) throw formatError(`${JSON.stringify(path)} is there twice`);
      names.add(name);
      if (Buffer.byteLength(path) > MAX_PATH) throw formatError(`a path of more than ${MAX_PATH} bytes`);
      if (++count > MAX_ENTRIES) throw formatError(`more than ${MAX_ENTRIES} files`);
      const inode = await inodeOf(volume, nid);
      const entry = await entryOf(volume, path, inode);
      if (!entry) continue;
      const hardLink = earlier.get(nid);
      if (inode.links > 1 && entry.type !== 'directory' && hardLink === undefined) earlier.set(nid, path);
      yield hardLink === undefined ? entry : { ...entry, hardLink };
      if (entry.type !== 'directory') continue;
      if (seen.has(nid)) throw formatError(`${JSON.stringify(path)} is another folder too`);
      seen.add(nid);
      pending.push({ path, inode });
    }
  }
}

async function inodeOf({ input, inodesAt, time }: Volume, nid: number): Promise<Inode> {
  const at = inodesAt + nid * NID_UNIT;
  const start = await input.bytes(at, COMPACT.length, 'an inode');
  const format = start.readUInt16LE(0);
  const fields = format & 1 ? EXTENDED : COMPACT;
  const bytes = fields === EXTENDED ? await input.bytes(at, EXTENDED.length, 'an inode') : start;
  const xattrsAt = at + fields.length;
  return {
    nid,
    mode: bytes.readUInt16LE(4),
    size: fields.size === 8 ? uint64LE(bytes, 8) : bytes.readUInt32LE(8),
    union: bytes.readUInt32LE(16),
    uid: bytes.readUIntLE(fields.uid, fields.ids),
    gid: bytes.readUIntLE(fields.gid, fields.ids),
    time: fields.mtime === undefined ? time : timeAt(bytes, fields.mtime, input),
    links: bytes.readUIntLE(fields.links, fields.linksSize),
    layout: (format >> 1) & 7,
    xattrsAt,
    tailAt: xattrsAt + bodyLength(bytes.readUInt16LE(2)),
  };
}

/** Seconds of 64 bits, and nanoseconds of 32. @throws Error with the code EINVAL for what is no time */
function timeAt(bytes: Buffer, at: number, { formatError }: Parsing): Time {
  const [mtime, nanoseconds] = [Number(bytes.readBigInt64LE(at)), bytes.readUInt32LE(at + 8)];
  if (!Number.isSafeInteger(mtime) || nanoseconds >= BILLION) throw formatError(`a time of ${mtime}.${nanoseconds} s`);
  return { mtime, ...(nanoseconds > 0 && { nanoseconds }) };
}

/** @returns undefined for a socket */
async function entryOf(volume: Volume, path: string, inode: Inode): Promise<Entry | undefined> {
  const { formatError } = volume.input;
  const { mode, uid, gid, time, size, union, xattrsAt, tailAt } = inode;
  const type = typeOf(mode);
  if ((mode & TYPE_BITS) === SOCKET) return undefined;
  if (type === undefined) throw formatError(`${JSON.stringify(path)} has the mode ${mode}`);
  const body = await volume.input.bytes(xattrsAt, tailAt - xattrsAt, 'attributes');
  const xattrs = await xattrsIn(volume.input, body, volume.sharedAt, JSON.stringify(path));
  const entry = { path, type, mode: mode & 0o7777, uid, gid, ...time, size: 0, ...(xattrs && { xattrs }) };
  if (type === 'file') return { ...entry, size, open: (offset = 0) => contentOf(volume, inode, path, offset) };
  if (type === 'character-device' || type === 'block-device')
    return { ...entry, rdev: [(union >> 8) & 0xfff, (union & 0xff) | ((union >> 12) & 0xfff00)] };
  if (type !== 'symlink') return entry;
  if (size === 0 || size > MAX_LINK) throw formatError(`${JSON.stringify(path)}: a link of ${size} bytes`);
  const link = pathOf(await wholeOf(volume, inode, path));
  if (link.includes('\0')) throw formatError(`${JSON.stringify(path)} links to ${JSON.stringify(link)}`);
  return { ...entry, link };
}

interface Name {
  readonly name: string;
  readonly nid: number;
}

/** The names in a folder, without `.` and `..`. @throws Error with the code EINVAL for an unsafe name */
async function* namesIn(
  volume: Volume,
  { path, inode }: { readonly path: string; readonly inode: Inode },
): AsyncGenerator<Name> {
  const subject = path === '' ? 'the root' : JSON.stringify(path);
  if (typeOf(inode.mode) !== 'directory') throw volume.input.formatError(`${subject} is no folder`);
  if (inode.size > MAX_FOLDER) throw volume.input.formatError(`${subject} has ${inode.size} bytes of names`);
  const bytes = await wholeOf(volume, inode, path);
  for (let at = 0; at < bytes.length; at += volume.blockSize)
    for (const found of namesOf(bytes.subarray(at, at + volume.blockSize))) {
      if (!found || /^$|[/\0]/.test(found.name)) throw volume.input.formatError(`${subject} has a name that cannot be`);
      if (found.name !== '.' && found.name !== '..') yield found;
    }
}

/** @returns undefined in the list for an entry that is not within the block */
function namesOf(block: Buffer): (Name | undefined)[] {
  if (block.length < DIRENT) return [undefined];
  const count = Math.floor(block.readUInt16LE(8) / DIRENT);
  if (count === 0 || count * DIRENT > block.length) return [undefined];
  return Array.from({ length: count }, (_, index) => {
    const at = index * DIRENT;
    const start = block.readUInt16LE(at + 8);
    const end = index + 1 < count ? block.readUInt16LE(at + DIRENT + 8) : block.length;
    if (start > end || end > block.length) return undefined;
    // The last name of a block is followed by zeros, or by the block's end.
    const bytes = block.subarray(start, end);
    let length = bytes.length;
    while (length > 0 && bytes[length - 1] === 0) length--;
    const name = pathOf(bytes.subarray(0, length));
    return { name, nid: uint64LE(block, at) };
  });
}

async function wholeOf(volume: Volume, inode: Inode, path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of contentOf(volume, inode, path)) parts.push(part);
  return Buffer.concat(parts);
}

async function* contentOf(volume: Volume, inode: Inode, path: string, from = 0): AsyncGenerator<Buffer> {
  const { input } = volume;
  for (const { offset, length } of placesFrom(placesOf(volume, inode, path), from)) {
    if (length > input.size) throw input.formatError(`${JSON.stringify(path)} is larger than the image`);
    yield* input.content(offset, length, JSON.stringify(path));
  }
}

function placesOf({ input, blockSize }: Volume, { layout, size, union, tailAt }: Inode, path: string): Place[] {
  const offset = union * blockSize;
  if (layout === PLAIN) return [{ offset, length: size }];
  if (layout !== INLINE)
    throw input.formatError(`${JSON.stringify(path)} is compressed or in chunks, which is not supported`);
  const tail = size % blockSize;
  return [
    { offset, length: size - tail },
    { offset: tailAt, length: tail },
  ].filter(({ length }) => length > 0);
}
