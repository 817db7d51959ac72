/**
 * The format of an overlay file, which holds all differences from its base. Numbers are little-endian.
 *
 *     0          the header, in 4096 bytes
 *     4096       a bitmap, 1 bit per block: whether the block is in this file; padded to a multiple of 4096 bytes
 *     data       the blocks: block i at data + i × the size of a block
 *
 *     0    8   "NODEOS\0\1", with the version of the format at the end
 *     8    4   the size of a block in bytes
 *     16   8   the size of the base in bytes
 *     24   8   the offset of the data in bytes
 *     32   32  the identity of the base: SHA-256 of a text from the caller
 *     64   32  SHA-256 of the first 64 bytes
 *
 * The size of the file is the offset of the data plus the size of the base.
 */
import { createHash } from 'node:crypto';
import { failure } from './backend.js';
import { roundUp } from './sizes.js';

export interface OverlayLayout {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of the base. */
  readonly baseSize: number;
  /** Number of blocks. */
  readonly blocks: number;
  /** Bytes of the bitmap, without the padding of its last 4096 bytes. */
  readonly bitmapSize: number;
  /** Offset of the data in bytes. */
  readonly data: number;
  /** Bytes of the file. */
  readonly size: number;
}

export const HEADER = 4096;
const PAGE = 4096;
const MAGIC = Buffer.from('NODEOS\0\x01', 'latin1');
const CHECKED = 64;
const SHA256 = 32;
const SMALLEST_BLOCK = 4096;
const LARGEST_BLOCK = 1 << 20;
const LARGEST_BITMAP = 256 << 20;

/** @throws RangeError if the block size is invalid, or if the bitmap would be larger than 256 MiB */
export function overlayLayout(baseSize: number, blockSize: number): OverlayLayout {
  if (!(blockSize >= SMALLEST_BLOCK && blockSize <= LARGEST_BLOCK && Number.isInteger(Math.log2(blockSize))))
    throw new RangeError(`blocks of ${blockSize} bytes: a power of two from 4 KiB to 1 MiB is needed`);
  const blocks = Math.ceil(baseSize / blockSize);
  const bitmapSize = Math.ceil(blocks / 8);
  if (bitmapSize > LARGEST_BITMAP)
    throw new RangeError(
      `${baseSize} bytes in blocks of ${blockSize} need a bitmap of ${bitmapSize} bytes: use larger blocks`,
    );
  const data = roundUp(HEADER + roundUp(bitmapSize, PAGE), blockSize);
  return { blockSize, baseSize, blocks, bitmapSize, data, size: data + baseSize };
}

export function encodeHeader({ blockSize, baseSize, data }: OverlayLayout, identity: string): Buffer {
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header);
  header.writeUInt32LE(blockSize, 8);
  header.writeBigUInt64LE(BigInt(baseSize), 16);
  header.writeBigUInt64LE(BigInt(data), 24);
  sha256(identity).copy(header, CHECKED - SHA256);
  sha256(header.subarray(0, CHECKED)).copy(header, CHECKED);
  return header;
}

/**
 * Decodes and checks a header. An overlay made without an identity belongs to any base of its size.
 * @param name the file, for messages
 * @throws Error with the code EINVAL if it is not a header, is damaged, or belongs to an overlay over another base
 */
export function decodeHeader(header: Buffer, name: string, baseSize: number, identity: string): OverlayLayout {
  const formatError = (reason: string): Error => failure('EINVAL', `${name}: ${reason}`);
  if (header.length < HEADER || !header.subarray(0, 6).equals(MAGIC.subarray(0, 6))) throw formatError('is no overlay');
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw formatError('is an overlay of another version');
  if (!header.subarray(CHECKED, CHECKED + SHA256).equals(sha256(header.subarray(0, CHECKED))))
    throw formatError('is an overlay with a damaged header');
  const size = Number(header.readBigUInt64LE(16));
  if (size !== baseSize) throw formatError(`is an overlay over ${size} bytes, not over ${baseSize}`);
  if (!['', identity].some((candidate) => header.subarray(CHECKED - SHA256, CHECKED).equals(sha256(candidate))))
    throw formatError(
      `is an overlay over another base${identityHint(identity)}; bring that one back, or begin another overlay`,
    );
  const layout = overlayLayout(baseSize, header.readUInt32LE(8));
  if (Number(header.readBigUInt64LE(24)) !== layout.data)
    throw formatError('is an overlay with a header that contradicts itself');
  return layout;
}

/** @throws Error with the code EINVAL if bits of nonexistent blocks are set */
export function checkBitmap(bytes: Uint8Array, { blocks }: OverlayLayout, name: string): void {
  const unused = blocks % 8;
  if (unused !== 0 && (bytes.at(-1) ?? 0) >>> unused !== 0)
    throw failure('EINVAL', `${name}: is an overlay with a damaged bitmap`);
}

const identityHint = (identity: string): string =>
  identity === '' ? ', which is known by its version' : `, or another version of it, than ${identity}`;

const sha256 = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest();
