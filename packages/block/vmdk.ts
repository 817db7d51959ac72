/**
 * A disk in VMware's format, read-only, if it is a single file: a sparse image, or a stream-optimized one as in an OVA.
 * VMware: Virtual Disk Format 5.0; https://github.com/qemu/qemu/blob/master/block/vmdk.c reads it too.
 *
 * An image may be a text that names the files of the data, or a layer over another image. No such name is followed
 * here.
 */
import { inflateSync } from 'node:zlib';
import { failure, type BlockBackend } from './backend.js';
import { clustered, tablesOf, type Place } from './clusters.js';
import { parsing, uint64LE, type Parsing } from './parsing.js';

const MAGIC = 'KDMV';
const SECTOR = 512;
const HEADER = 512;
/** The directory offset in a header whose image has the real value only in its footer. */
const AT_END = Infinity;
/** Bytes: the footer is the last sector but one. */
const FOOTER = 2 * SECTOR;
const FLAG = { zeroGrains: 1 << 2, compressed: 1 << 16 };
const DEFLATE = 1;
/** Limits in bytes. */
const MAX_DIRECTORY = 32 << 20;
const MAX_DESCRIPTOR = 1 << 20;
/** Sectors. Most images have grains of 64 KiB. */
const MAX_GRAIN = 2048;

interface Header {
  readonly flags: number;
  /** Bytes. */
  readonly size: number;
  readonly grainSize: number;
  readonly descriptor: { readonly at: number; readonly length: number };
  /** Entries per table. */
  readonly perTable: number;
  readonly directory: number;
  readonly algorithm: number;
}

/**
 * Opens a VMDK image. `close` closes `inner`.
 * @throws Error with the code EINVAL if it is not such an image or is damaged; ENOTSUP if it is one of several files,
 * or a layer over another image. `inner` stays open in these cases
 */
export async function vmdk(inner: BlockBackend): Promise<BlockBackend> {
  const input = parsing(inner, 'vmdk');
  const header = await readHeader(input);
  await checkDescriptor(header, input);
  const { flags, size, grainSize, perTable } = header;
  const isCompressed = (flags & FLAG.compressed) !== 0;
  const entries = Math.ceil(size / grainSize / perTable);
  if (entries * 4 > MAX_DIRECTORY) throw input.formatError(`a directory of ${entries} entries`);
  const directory = await input.bytes(header.directory, entries * 4, 'the directory');
  const tables = tablesOf(input, perTable * 4);

  async function placeOf(grain: number): Promise<Place<number>> {
    const table = directory.readUInt32LE(Math.floor(grain / perTable) * 4);
    if (table === 0) return { kind: 'nothing', span: perTable - (grain % perTable) };
    const sector = (await tables(table * SECTOR)).readUInt32LE((grain % perTable) * 4);
    if (sector === 0) return { kind: 'nothing' };
    if (sector === 1 && flags & FLAG.zeroGrains) return { kind: 'zero' };
    return isCompressed ? { kind: 'packed', key: sector * SECTOR } : { kind: 'data', at: sector * SECTOR };
  }

  /** A compressed grain is preceded by its first sector and its length. */
  async function unpacked(at: number): Promise<Uint8Array> {
    const length = (await input.bytes(at, 12, 'a compressed grain')).readUInt32LE(8);
    if (length > 2 * grainSize + SECTOR) throw input.formatError(`a compressed grain of ${length} bytes`);
    return inflated(await input.bytes(at + 12, length, 'a compressed grain'), grainSize, at);
  }

  return clustered(inner, { size, clusterSize: grainSize, placeOf, unpacked, formatError: input.formatError });
}

async function readHeader(input: Parsing): Promise<Header> {
  if (input.size < HEADER) throw input.formatError('this is no VMDK image');
  const first = headerOf(await input.bytes(0, HEADER, 'the header'), input);
  if (first.directory !== AT_END) return first;
  const last = headerOf(await input.bytes(input.size - FOOTER, HEADER, 'the footer'), input);
  if (last.directory === AT_END)
    throw input.formatError('its footer does not say where its directory is: it may be cut off');
  return last;
}

function headerOf(bytes: Buffer, { formatError }: Parsing): Header {
  if (bytes.toString('latin1', 0, 4) !== MAGIC)
    throw formatError('this is no VMDK image, or one that names other files');
  const version = bytes.readUInt32LE(4);
  if (version < 1 || version > 3) throw formatError(`version ${version}`);
  const grain = uint64LE(bytes, 20);
  const perTable = bytes.readUInt32LE(44);
  if (grain < 8 || grain > MAX_GRAIN || !Number.isInteger(Math.log2(grain)) || perTable < 1 || perTable > 4096)
    throw formatError(`grains of ${grain} sectors, in tables of ${perTable}`);
  const size = uint64LE(bytes, 12) * SECTOR;
  if (size === 0) throw failure('ENOTSUP', 'vmdk: its data is in other files');
  if (!Number.isSafeInteger(size)) throw formatError('a size beyond every disk');
  const algorithm = bytes.readUInt16LE(77);
  const flags = bytes.readUInt32LE(8);
  if (flags & FLAG.compressed && algorithm !== DEFLATE)
    throw formatError(`a compression of the unknown kind ${algorithm}`);
  return {
    flags,
    size,
    grainSize: grain * SECTOR,
    descriptor: { at: uint64LE(bytes, 28) * SECTOR, length: uint64LE(bytes, 36) * SECTOR },
    perTable,
    directory: uint64LE(bytes, 56) * SECTOR,
    algorithm,
  };
}

const PART = 'vmdk: it is one of several files of a disk';

/** Checks the text in the image, which tells its type and its parent. */
async function checkDescriptor({ descriptor }: Header, input: Parsing): Promise<void> {
  if (descriptor.at === 0 || !(descriptor.length <= MAX_DESCRIPTOR)) throw failure('ENOTSUP', PART);
  const text = (await input.bytes(descriptor.at, descriptor.length, 'the description')).toString('latin1');
  const valueOf = (key: string): string =>
    new RegExp(`^${key}\\s*=\\s*"?([^"\\n\\0]*)`, 'm').exec(text)?.[1]?.trim() ?? '';
  const parent = valueOf('parentCID');
  if (parent !== '' && parent.toLowerCase() !== 'ffffffff')
    throw failure('ENOTSUP', 'vmdk: it is a layer over another image: qemu-img convert makes one of both');
  const kind = valueOf('createType');
  if (kind === '') throw failure('ENOTSUP', PART);
  if (kind !== 'monolithicSparse' && kind !== 'streamOptimized')
    throw failure('ENOTSUP', `vmdk: an image of the kind ${JSON.stringify(kind.slice(0, 40))} is not one file`);
}

/** The last grain of a disk may be shorter. */
function inflated(bytes: Buffer, length: number, at: number): Uint8Array {
  try {
    const grain = inflateSync(bytes, { maxOutputLength: length });
    return grain.length === length ? grain : Buffer.concat([grain, Buffer.alloc(length - grain.length)]);
  } catch (error) {
    throw failure('EIO', `vmdk: the compressed grain at byte ${at} is damaged`, error);
  }
}
