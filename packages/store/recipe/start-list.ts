/**
 * The blocks that a start reads, in that order: `NODEOSS\1`, and 4 bytes for each index, little-endian. A list is a
 * hint: a damaged or foreign one is not used.
 */
import type { ChunkRecord } from './public.js';

const MAGIC = Buffer.from('NODEOSS\u0001', 'latin1');

export const startListSize = (count: number): number => MAGIC.length + 4 * count;

export function encodeStartList(indexes: readonly number[]): Buffer {
  const bytes = Buffer.alloc(startListSize(indexes.length));
  MAGIC.copy(bytes);
  indexes.forEach((index, number) => bytes.writeUInt32LE(index, MAGIC.length + 4 * number));
  return bytes;
}

/** @returns the blocks of the list that the recipe has, each once */
export function decodeStartList(bytes: Uint8Array, records: readonly Pick<ChunkRecord, 'index'>[]): number[] {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!input.subarray(0, MAGIC.length).equals(MAGIC)) return [];
  const known = new Set(records.map(({ index }) => index));
  const found: number[] = [];
  for (let at = MAGIC.length; at + 4 <= input.length; at += 4) {
    const index = input.readUInt32LE(at);
    if (known.delete(index)) found.push(index);
  }
  return found;
}
