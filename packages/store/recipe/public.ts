/**
 * The public part of a recipe: what an image is made of, and nothing that opens it. Collection and replication need no
 * more. Numbers are little-endian.
 *
 * | offset | what                                                                              |
 * | ------ | --------------------------------------------------------------------------------- |
 * | 0      | `NODEOSR\1`; the last byte is the version                                         |
 * | 8      | 4 bytes: the length of the description                                            |
 * | 12     | 4 bytes: the number of records                                                    |
 * | 16     | the description: JSON of `size`, `blockSize`, `codec`, `cipher`, `filesystem`     |
 * | then   | the records, in the order of their index: 4 bytes each of index, raw length and   |
 * |        | stored length, and 32 bytes of id. A block without a record has only zeros        |
 *
 * The id of a recipe is the SHA-256 of these bytes.
 */
import { NodeosError, sha256, visible } from '@nodeos/base';
import { CODEC_NAMES, storedBound, type CodecName } from '../chunk/seal.js';

export interface ChunkRecord {
  /** The block of the image: its first byte is at `index * blockSize`. */
  readonly index: number;
  /** Bytes of the block without the zeros at its end. */
  readonly rawLength: number;
  /** Bytes of the chunk in the store. */
  readonly storedLength: number;
  /** SHA-256 of the stored bytes, in hexadecimal. */
  readonly id: string;
}

export type Cipher = 'aes-256-ctr' | 'none';

export interface Recipe {
  /** Of the image, in bytes. */
  readonly size: number;
  /** A power of two from 4 KiB to 4 MiB. */
  readonly blockSize: number;
  readonly codec: CodecName;
  readonly cipher: Cipher;
  /** For people, such as `erofs`; empty if unknown. */
  readonly filesystem: string;
  readonly records: readonly ChunkRecord[];
}

const MAGIC = Buffer.from('NODEOSR\u0001', 'latin1');
const HEADER = 16;
const RECORD = 44;
const MAX_DESCRIPTION = 64 << 10;
const MAX_RECORDS = 1 << 22;
/** The largest recipe in bytes: 2 TiB in blocks of 512 KiB. */
export const MAX_RECIPE = HEADER + MAX_DESCRIPTION + MAX_RECORDS * RECORD;
export const DEFAULT_BLOCK = 512 << 10;
const MIN_BLOCK = 4 << 10;
const MAX_BLOCK = 4 << 20;
/** The largest chunk in bytes. */
export const MAX_STORED = storedBound(MAX_BLOCK);

/** @throws NodeosError if the recipe breaks a rule of the format */
export function encodeRecipe(recipe: Recipe): Buffer {
  const { records, size, blockSize, codec, cipher, filesystem } = checked(recipe, 'the recipe');
  const description = Buffer.from(JSON.stringify({ size, blockSize, codec, cipher, filesystem }));
  const bytes = Buffer.alloc(HEADER + description.length + records.length * RECORD);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(description.length, 8);
  bytes.writeUInt32LE(records.length, 12);
  description.copy(bytes, HEADER);
  let at = HEADER + description.length;
  for (const { index, rawLength, storedLength, id } of records) {
    bytes.writeUInt32LE(index, at);
    bytes.writeUInt32LE(rawLength, at + 4);
    bytes.writeUInt32LE(storedLength, at + 8);
    bytes.write(id, at + 12, 'hex');
    at += RECORD;
  }
  return bytes;
}

/**
 * @param name of the recipe in messages
 * @throws NodeosError if the bytes are no recipe of this version, or break a rule of the format
 */
export function decodeRecipe(bytes: Uint8Array, name: string): Recipe {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length < HEADER || !input.subarray(0, 7).equals(MAGIC.subarray(0, 7)))
    throw wrong(name, 'this is no recipe');
  if (input[7] !== MAGIC[7])
    throw wrong(name, `its version is ${input[7]}, and this program knows version 1`, 'use a newer nodeos');
  const [length, count] = [input.readUInt32LE(8), input.readUInt32LE(12)];
  if (length > MAX_DESCRIPTION || count > MAX_RECORDS) throw wrong(name, 'it is larger than a recipe can be');
  const start = HEADER + length;
  if (input.length !== start + count * RECORD)
    throw wrong(
      name,
      `it has ${input.length} bytes, and says ${start + count * RECORD}`,
      'it may be cut off: push it again',
    );
  const records = Array.from({ length: count }, (_, number): ChunkRecord => {
    const at = start + number * RECORD;
    return {
      index: input.readUInt32LE(at),
      rawLength: input.readUInt32LE(at + 4),
      storedLength: input.readUInt32LE(at + 8),
      id: input.toString('hex', at + 12, at + RECORD),
    };
  });
  return checked({ ...descriptionOf(input.subarray(HEADER, start), name), records }, name);
}

export const recipeId = (bytes: Uint8Array): string => sha256(bytes);

function descriptionOf(bytes: Buffer, name: string): Omit<Recipe, 'records'> {
  let found: Partial<Record<keyof Recipe, unknown>> | null;
  try {
    found = JSON.parse(bytes.toString()) as typeof found;
  } catch (error) {
    throw new NodeosError(`${name}: its description is no JSON`, { cause: error });
  }
  const { size, blockSize, codec, cipher, filesystem } = found ?? {};
  if (typeof size !== 'number' || typeof blockSize !== 'number') throw wrong(name, 'it states no sizes');
  if (!CODEC_NAMES.includes(codec as CodecName))
    throw wrong(name, `its codec is ${visible(String(codec))}, and this program has ${CODEC_NAMES.join(', ')}`);
  if (cipher !== 'aes-256-ctr' && cipher !== 'none')
    throw wrong(name, `its cipher is ${visible(String(cipher))}, and this program has aes-256-ctr and none`);
  return {
    size,
    blockSize,
    codec: codec as CodecName,
    cipher,
    filesystem: typeof filesystem === 'string' ? filesystem : '',
  };
}

/** Both directions keep the same rules, so nothing is written that cannot be read. */
function checked(recipe: Recipe, name: string): Recipe {
  const { size, blockSize, records } = recipe;
  if (!Number.isSafeInteger(size) || size < 0) throw wrong(name, `a size of ${size}`);
  if (!(blockSize >= MIN_BLOCK && blockSize <= MAX_BLOCK && Number.isInteger(Math.log2(blockSize))))
    throw wrong(name, `blocks of ${blockSize} bytes: a power of two from 4 KiB to 4 MiB is needed`);
  const most = storedBound(blockSize);
  let last = -1;
  for (const { index, rawLength, storedLength, id } of records) {
    const room = size - index * blockSize;
    if (!(index > last && room > 0)) throw wrong(name, `record ${index} is out of order, or outside the image`);
    if (!(rawLength >= 1 && rawLength <= Math.min(blockSize, room)))
      throw wrong(name, `${rawLength} bytes in block ${index}`);
    if (!(storedLength >= 1 && storedLength <= most))
      throw wrong(name, `${storedLength} stored bytes for block ${index}: ${most} are the most`);
    if (!/^[0-9a-f]{64}$/.test(id)) throw wrong(name, `block ${index} has no id`);
    last = index;
  }
  return recipe;
}

const wrong = (name: string, why: string, hint?: string): NodeosError =>
  new NodeosError(`${name}: ${why}`, hint === undefined ? {} : { hint });
