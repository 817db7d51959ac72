/**
 * Recipes of stream-my-root: a line `INDEX SHA256HEX` for each block of 512 KiB that is not all zeros. The checksum is
 * of the whole block with its zeros. `HASH.zst` is the block without the zeros at its end. The size of the image is not
 * in the recipe.
 * https://github.com/athoune/stream-my-root
 */
import { NodeosError } from '@nodeos/base';

export const SMR_BLOCK = 512 << 10;
const MAX_BLOCKS = 1 << 22;

export interface SmrRecipe {
  /** Checksums by index. */
  readonly blocks: ReadonlyMap<number, string>;
  /** Bytes up to the end of the last block. */
  readonly least: number;
}

/** @throws NodeosError for a line that is none */
export function decodeSmr(text: string, name: string): SmrRecipe {
  const blocks = new Map<number, string>();
  let last = -1;
  for (const [number, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const [, index = '', hash = ''] = /^(\d{1,7}) ([0-9a-f]{64})\r?$/.exec(line) ?? [];
    if (hash === '' || Number(index) >= MAX_BLOCKS)
      throw new NodeosError(`${name}: line ${number + 1} is not "INDEX SHA256"`, {
        hint: 'is this a recipe of stream-my-root?',
      });
    blocks.set(Number(index), hash);
    last = Math.max(last, Number(index));
  }
  return { blocks, least: (last + 1) * SMR_BLOCK };
}

export const encodeSmr = (blocks: Iterable<readonly [index: number, hash: string]>): string =>
  [...blocks].map(([index, hash]) => `${index} ${hash}\n`).join('');
