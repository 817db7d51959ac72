/**
 * What a zstd frame says about itself, read without unpacking it. A chunk comes from others, so its size is bounded
 * before a decoder takes memory for it.
 * https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md
 */
import { failure } from '@nodeos/block';

const MAGIC = 0xfd2fb528;
/** Largest block of a frame, in bytes. */
const MAX_BLOCK = 128 << 10;
const RLE = 1;
const COMPRESSED = 2;

/**
 * @returns the most bytes that the frame can unpack to: what its header says, else a bound from its blocks
 * @throws Error with the code EINVAL if `bytes` is not exactly one frame, or if that needs a dictionary
 */
export function unpackedBound(bytes: Uint8Array): number {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (frame.length < 6 || frame.readUInt32LE(0) !== MAGIC) throw invalid('it does not begin like one');
  const flags = frame.readUInt8(4);
  if ((flags & 0x0b) !== 0) throw invalid('it needs a dictionary, or a newer decoder');
  const isSingle = (flags & 0x20) !== 0;
  const kind = flags >>> 6;
  const width = kind === 0 ? (isSingle ? 1 : 0) : 2 ** kind;
  const at = 5 + (isSingle ? 0 : 1);
  if (frame.length < at + width) throw invalid('it ends within its header');
  const bound = boundOfBlocks(frame, at + width, (flags & 0x04) !== 0);
  if (width === 0) return bound;
  const stated =
    width === 8 ? Number(frame.readBigUInt64LE(at)) : frame.readUIntLE(at, width) + (width === 2 ? 256 : 0);
  if (stated > bound) throw invalid(`it says that it has ${stated} bytes, and its blocks have ${bound} at most`);
  return stated;
}

/** Each block has a header of three bytes: whether it is the last one, its type, and its length. */
function boundOfBlocks(frame: Buffer, start: number, hasChecksum: boolean): number {
  let bound = 0;
  for (let at = start; ;) {
    if (at + 3 > frame.length) throw invalid('it ends within a block');
    const header = frame.readUIntLE(at, 3);
    const type = (header >>> 1) & 3;
    const length = header >>> 3;
    bound += type === COMPRESSED ? MAX_BLOCK : length;
    at += 3 + (type === RLE ? 1 : length);
    if ((header & 1) === 0) continue;
    if (at + (hasChecksum ? 4 : 0) === frame.length) return bound;
    throw invalid('it ends elsewhere than its bytes');
  }
}

const invalid = (why: string): Error => failure('EINVAL', `no frame of zstd: ${why}`);
