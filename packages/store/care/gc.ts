/**
 * Collection of what no image needs. It reads the public parts only, so it needs no keys.
 *
 * 1. Marked are all chunks of all roots. A root that cannot be read ends the collection before anything happens.
 * 2. A chunk that is not marked and is older than the grace period is condemned: moved to `condemned/`, where its age
 *    begins anew.
 * 3. Roots are read again. A condemned chunk that is marked now is moved back; one that is older than the grace period
 *    is deleted.
 *
 * So between the last use of a chunk and its deletion lie two grace periods. Whoever asks for a condemned chunk takes it
 * back (chunks.ts). A push that finds it there goes on. A read means that an image in use is not among the roots: it
 * leaves a note, and until somebody has dealt with it nothing is deleted. Each step is one rename or one deletion, so
 * a collection may be killed at any moment.
 */
import { NodeosError } from '@nodeos/base';
import type { PrunablePlace, Stored } from '@nodeos/places';
import { CHUNKS, CONDEMNED, idInPath, pathOfChunk, STOPPED } from '../chunks.js';
import { KEYS, RECIPES, STARTS } from '../images.js';
import { decodeRecipe, MAX_RECIPE, recipeId, type Recipe } from '../recipe/public.js';

export interface CollectOptions {
  /** Milliseconds. */
  readonly grace: number;
  /** Recipes beside those of the store, whose chunks are kept. */
  readonly roots?: readonly Recipe[];
  /** Only says what would happen. */
  readonly isDry?: boolean;
  readonly now?: () => number;
}

export interface Collected {
  readonly images: number;
  /** Chunks that the roots need. */
  readonly needed: number;
  readonly condemned: number;
  /** Condemned chunks that a root needs again. */
  readonly returned: number;
  readonly deleted: number;
  readonly deletedBytes: number;
  /** Chunks that nobody needs, and that are too young to be condemned or deleted. */
  readonly waiting: number;
}

/**
 * @throws NodeosError if a root cannot be read, or if somebody has read a condemned chunk; then nothing more is deleted
 */
export async function collect(place: PrunablePlace, options: CollectOptions): Promise<Collected> {
  const { grace, roots = [], isDry = false, now = Date.now } = options;
  const counts = { condemned: 0, returned: 0, deleted: 0, deletedBytes: 0, waiting: 0 };
  const isOld = ({ modified }: Stored): boolean => now() - modified > grace;
  const first = await mark(place, roots);
  await checkNotStopped(place, first.chunks);
  /** Never deleted by the collection that condemned them, whatever the clocks of this machine and of the store say. */
  const justCondemned = new Set<string>();
  for await (const file of place.list(CHUNKS)) {
    const id = idInPath(file.path);
    if (id === undefined || first.chunks.has(id)) continue;
    if (!isOld(file)) counts.waiting++;
    else if (isDry || (await place.move(file.path, pathOfChunk(id, CONDEMNED)))) {
      counts.condemned++;
      justCondemned.add(id);
    }
  }
  const marked = await mark(place, roots);
  for await (const file of place.list(CONDEMNED)) {
    const id = idInPath(file.path);
    if (id === undefined) continue;
    if (marked.chunks.has(id)) {
      counts.returned++;
      if (!isDry) await place.move(file.path, pathOfChunk(id));
    } else if (justCondemned.has(id)) continue;
    else if (isOld(file)) {
      if (!isDry) {
        await checkNotStopped(place, marked.chunks);
        await place.delete(file.path);
      }
      counts.deleted++;
      counts.deletedBytes += file.size;
    } else counts.waiting++;
  }
  if (!isDry) await deleteLeft(place, marked.recipes, isOld);
  return { images: marked.images, needed: marked.chunks.size, ...counts };
}

interface Marked {
  readonly images: number;
  readonly chunks: ReadonlySet<string>;
  readonly recipes: ReadonlySet<string>;
}

async function mark(place: PrunablePlace, roots: readonly Recipe[]): Promise<Marked> {
  const chunks = new Set<string>();
  const recipes = new Set<string>();
  const add = ({ records }: Recipe): void => records.forEach(({ id }) => chunks.add(id));
  roots.forEach(add);
  let images = roots.length;
  for await (const { path } of place.list(RECIPES)) {
    const bytes = await place.get(path, MAX_RECIPE);
    if (!bytes) continue; // removed meanwhile
    add(decodeRecipe(bytes, `${place.name}/${path}`));
    recipes.add(recipeId(bytes));
    images++;
  }
  return { images, chunks, recipes };
}

/** Tables of keys and start lists of recipes that are gone, and what killed processes have left. */
async function deleteLeft(
  place: PrunablePlace,
  recipes: ReadonlySet<string>,
  isOld: (file: Stored) => boolean,
): Promise<void> {
  for (const folder of [KEYS, STARTS])
    for await (const file of place.list(folder)) {
      const id = /\/([0-9a-f]{64})(?:\.[0-9a-f]{16})?$/.exec(file.path)?.[1];
      if (id !== undefined && !recipes.has(id) && isOld(file)) await place.delete(file.path);
    }
  for await (const file of place.list('tmp')) if (isOld(file)) await place.delete(file.path);
}

/**
 * A chunk that a root needs was read between its condemnation and the moment at which the root got its name: that is no
 * reason to stop.
 */
async function checkNotStopped(place: PrunablePlace, marked: ReadonlySet<string>): Promise<void> {
  for await (const { path, modified } of place.list(STOPPED)) {
    const id = idInPath(path) ?? '';
    if (!marked.has(id))
      throw new NodeosError(
        `nothing is deleted: somebody has read the condemned chunk ${id}, at ${new Date(modified).toISOString()}`,
        { hint: 'name the image that it belongs to with --root, or go on without it with --resume' },
      );
    await place.delete(path);
  }
}

/** Lets collections delete again. */
export async function resume(place: PrunablePlace): Promise<void> {
  for await (const { path } of place.list(STOPPED)) await place.delete(path);
}
