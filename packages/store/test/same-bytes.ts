/** Whether an encoder gives the bytes of the format. */
import { expect } from 'vitest';
import { idOf } from '@nodeos/store';
import { zstdEncoder, type Codec } from '../chunk/zstd.js';
import { contentsOf, imageOf } from './helpers.js';

/** Blocks of all lengths up to 500,000 bytes, of text and noise. */
export async function sameAsWasm(encode: Codec): Promise<void> {
  const wasm = await zstdEncoder(3, 'wasm');
  const bytes = await contentsOf(await imageOf(4 << 20, 4));
  for (let at = 0, length = 1; at + length < bytes.length; at += length, length = (length * 3) % 500_009) {
    const block = bytes.subarray(at, at + length);
    expect(idOf(await encode(block))).toBe(idOf(await wasm(block)));
  }
}
