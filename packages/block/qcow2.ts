/**
 * A disk in QEMU's own format, read-only. Two levels of tables locate its clusters.
 * https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
 *
 * The tables are untrusted: offsets outside the file are errors. The image may name any file as its backing file, so
 * that name is never opened here.
 */
import { inflateRawSync } from 'node:zlib';
import { failure, type BlockBackend } from './backend.js';
import { clustered, tablesOf, type Place } from './clusters.js';
import { parsing, uint64BE, type Parsing } from './parsing.js';
import { frameEnd, zstdUnpacker } from './zstd.js';

export interface Qcow2Options {
  /** For an image with a backing file: the device to read where the image has no data. `close` closes it too. */
  readonly backing?: BlockBackend;
}

const MAGIC = 0x514649fb;
/** Bits of the incompatible features. */
const FEATURE = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n };
const KNOWN = FEATURE.dirty | FEATURE.compression;
const UNSUPPORTED: readonly (readonly [bit: bigint, reason: string])[] = [
  [FEATURE.corrupt, 'it is marked as damaged: qemu-img check -r all'],
  [FEATURE.dataFile, 'its data is in another file'],
  [FEATURE.extendedL2, 'it has subclusters'],
];
/** Largest first table in bytes, as in QEMU. */
const MAX_L1 = 32 << 20;
const OFFSET = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
const SECTOR = 512;

interface Header {
  /** Bytes. */
  readonly size: number;
  readonly clusterBits: number;
  readonly l1: { readonly offset: number; readonly entries: number };
  readonly backing: string | undefined;
  readonly compression: 'deflate' | 'zstd';
  /** Version 3 only: the lowest bit of an entry means zeros. */
  readonly hasZeros: boolean;
}

/**
 * Opens a qcow2 image. `close` closes `inner`.
 * @throws Error with the code EINVAL if it is not a qcow2 image, is damaged, or has a backing file but no `backing` is
 * given; ENOTSUP for unsupported features: encryption, data in another file, subclusters. `inner` stays open in these
 * cases
 */
export async function qcow2(inner: BlockBackend, { backing }: Qcow2Options = {}): Promise<BlockBackend> {
  const input = parsing(inner, 'qcow2');
  const header = await readHeader(input);
  if (header.backing !== undefined && !backing)
    throw input.formatError(
      `it is a layer over ${JSON.stringify(header.backing)}, which is not opened for it: qemu-img convert makes one image of both`,
    );
  const { size, clusterBits, l1, hasZeros } = header;
  const clusterSize = 2 ** clusterBits;
  const perTable = clusterSize / 8;
  const table = await input.bytes(l1.offset, l1.entries * 8, 'the first table');
  const tables = tablesOf(input, clusterSize);
  const unpack = header.compression === 'zstd' ? await unzstd() : inflated;

  async function placeOf(cluster: number): Promise<Place<bigint>> {
    const at = Number(table.readBigUInt64BE(Math.floor(cluster / perTable) * 8) & OFFSET);
    if (at % clusterSize !== 0) throw input.formatError(`a table at byte ${at}, which is no start of a cluster`);
    if (at === 0) return { kind: 'nothing', span: perTable - (cluster % perTable) };
    const entry = (await tables(at)).readBigUInt64BE((cluster % perTable) * 8);
    if (entry & COMPRESSED) return { kind: 'packed', key: entry };
    if (hasZeros && entry & 1n) return { kind: 'zero' };
    const place = Number(entry & OFFSET);
    if (place === 0) return { kind: 'nothing' };
    if (place % clusterSize !== 0) throw input.formatError(`a cluster at byte ${place}, which is no start of one`);
    return { kind: 'data', at: place };
  }

  async function unpacked(entry: bigint): Promise<Uint8Array> {
    const { at, length } = compressedAt(entry, clusterBits);
    // The length is in whole sectors, so the last cluster may extend beyond the end of the file.
    const bytes = await input.bytes(at, Math.min(length, Math.max(0, input.size - at)), 'a compressed cluster');
    const cluster = await unpack(bytes, clusterSize);
    if (cluster.length !== clusterSize) throw failure('EIO', `qcow2: the compressed cluster at byte ${at} is damaged`);
    return cluster;
  }

  return clustered(inner, {
    size,
    clusterSize,
    placeOf,
    unpacked,
    formatError: input.formatError,
    ...(backing && { backing }),
  });
}

async function readHeader(input: Parsing): Promise<Header> {
  const header = await input.bytes(0, Math.min(112, input.size), 'the header');
  if (header.length < 72 || header.readUInt32BE(0) !== MAGIC) throw input.formatError('this is no qcow2 image');
  const version = header.readUInt32BE(4);
  if ((version !== 2 && version !== 3) || (version === 3 && header.length < 104))
    throw input.formatError(`version ${version}`);
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw input.formatError(`clusters of 2^${clusterBits} bytes`);
  if (header.readUInt32BE(32) !== 0) throw failure('ENOTSUP', 'qcow2: it is encrypted');
  const features = version === 3 ? header.readBigUInt64BE(72) : 0n;
  checkFeatures(features);
  const size = uint64BE(header, 24);
  const l1 = { offset: uint64BE(header, 40), entries: header.readUInt32BE(36) };
  if (!Number.isFinite(size)) throw input.formatError('a size beyond every disk');
  if (l1.entries * 8 > MAX_L1 || l1.entries < Math.ceil(size / (2 ** clusterBits * 2 ** (clusterBits - 3))))
    throw input.formatError(`a first table of ${l1.entries} entries for ${size} bytes`);
  const method = features & FEATURE.compression && header.readUInt32BE(100) > 104 ? header[104] : 0;
  if (method !== 0 && method !== 1) throw failure('ENOTSUP', `qcow2: a compression of the unknown kind ${method}`);
  return {
    size,
    clusterBits,
    l1,
    backing: await backingOf(header, input),
    compression: method === 1 ? 'zstd' : 'deflate',
    hasZeros: version === 3,
  };
}

function checkFeatures(features: bigint): void {
  const found = UNSUPPORTED.find(([bit]) => (features & bit) !== 0n);
  if (found) throw failure('ENOTSUP', `qcow2: ${found[1]}`);
  if (features & ~KNOWN) throw failure('ENOTSUP', `qcow2: it has unknown features: 0x${features.toString(16)}`);
}

async function backingOf(header: Buffer, input: Parsing): Promise<string | undefined> {
  const [at, length] = [uint64BE(header, 8), header.readUInt32BE(16)];
  if (at === 0) return undefined;
  if (length > 1023) throw input.formatError(`the name of a backing file of ${length} bytes`);
  return (await input.bytes(at, length, 'the name of its backing file')).toString();
}

/** The lowest bits hold the offset. The bits above it hold the number of sectors after the first one. */
function compressedAt(entry: bigint, clusterBits: number): { at: number; length: number } {
  const bits = BigInt(62 - (clusterBits - 8));
  const at = Number(entry & ((1n << bits) - 1n));
  const sectors = Number((entry & (COMPRESSED - 1n)) >> bits) + 1;
  return { at, length: sectors * SECTOR - (at % SECTOR) };
}

/**
 * @returns a function that unpacks a cluster, or returns 0 bytes if it is damaged; bytes after the frame are ignored
 */
async function unzstd(): Promise<(bytes: Buffer, length: number) => Promise<Uint8Array>> {
  const unpack = await zstdUnpacker();
  return (bytes, length) =>
    frameEnd(bytes).then(
      (end) => unpack(bytes.subarray(0, end), length),
      () => new Uint8Array(0),
    );
}

/** @returns 0 bytes if the data is damaged */
function inflated(bytes: Uint8Array, length: number): Uint8Array {
  try {
    // The sectors end later than the data: bytes after it do not belong to it.
    return inflateRawSync(bytes, { maxOutputLength: length });
  } catch {
    return new Uint8Array(0);
  }
}
