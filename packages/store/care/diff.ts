/** What two images share. */
import type { Recipe } from '../recipe/public.js';

export interface Share {
  readonly chunks: number;
  /** As they are stored. */
  readonly bytes: number;
}

export interface Difference {
  readonly shared: Share;
  readonly onlyFirst: Share;
  /** What the second one has to fetch where the first one is. */
  readonly onlySecond: Share;
}

export function difference(first: Recipe, second: Recipe): Difference {
  const [a, b] = [distinct(first), distinct(second)];
  return {
    shared: shareOf([...a].filter(([id]) => b.has(id))),
    onlyFirst: shareOf([...a].filter(([id]) => !b.has(id))),
    onlySecond: shareOf([...b].filter(([id]) => !a.has(id))),
  };
}

/** All chunks of an image, each counted once. */
export const shareOfAll = (recipe: Recipe): Share => shareOf([...distinct(recipe)]);

const distinct = ({ records }: Recipe): Map<string, number> =>
  new Map(records.map(({ id, storedLength }) => [id, storedLength]));

const shareOf = (chunks: readonly (readonly [string, number])[]): Share => ({
  chunks: chunks.length,
  bytes: chunks.reduce((sum, [, length]) => sum + length, 0),
});
