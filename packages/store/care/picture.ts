/** An image as a row of characters, one for each block: what is zero, shared, and read at start. */
import type { ImageStore } from '../images.js';
import type { Recipe } from '../recipe/public.js';
import { decodeStartList, startListSize } from '../recipe/start-list.js';

export interface Picture {
  /** A character for each block. */
  readonly blocks: string;
  /** A line for each kind of block. */
  readonly legend: readonly string[];
}

const KINDS = [
  { sign: '.', text: 'only zeros' },
  { sign: '-', text: 'shared with the other image' },
  { sign: 'o', text: 'of this image alone' },
  { sign: '=', text: 'shared, and read at start' },
  { sign: '#', text: 'of this image alone, and read at start' },
] as const;

/** @param other an image to compare with; without one nothing is shared */
export async function picture(
  store: ImageStore,
  { recipe, id }: { readonly recipe: Recipe; readonly id: string },
  other?: Recipe,
): Promise<Picture> {
  const list = await store.startList(id, startListSize(recipe.records.length));
  const start = new Set(list ? decodeStartList(list, recipe.records) : []);
  const shared = new Set(other?.records.map((record) => record.id));
  const kinds = Array.from({ length: Math.ceil(recipe.size / recipe.blockSize) }, () => 0);
  const [counts, bytes] = [KINDS.map(() => 0), KINDS.map(() => 0)];
  for (const { index, id: chunk, storedLength } of recipe.records) {
    const kind = (shared.has(chunk) ? 1 : 2) + (start.has(index) ? 2 : 0);
    kinds[index] = kind;
    bytes[kind] = (bytes[kind] ?? 0) + storedLength;
  }
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  return {
    blocks: kinds.map((kind) => KINDS[kind]?.sign ?? '?').join(''),
    legend: KINDS.map(
      ({ sign, text }, kind) => `${sign} ${text}: ${counts[kind] ?? 0} blocks, ${bytes[kind] ?? 0} stored bytes`,
    ),
  };
}
