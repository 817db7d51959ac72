/**
 * A store as a whole: chunks, and images by name. What it keeps beside the chunks:
 *
 *     recipes/NAME          the public part of a recipe
 *     keys/RECIPE.TENANT    the table of its keys, for each tenant that may read it
 *     starts/RECIPE         its start list
 *
 * Tables and start lists are named after the recipe's id, so that an image that gets new contents under its old name is
 * the old one or the new one at every moment.
 */
import { NodeosError, UsageError } from '@nodeos/base';
import { isWritable, type Place } from '@nodeos/places';
import { chunkStore, type ChunkStore, type OnRescued, type WritableChunkStore } from './chunks.js';
import { decodeKeys, keyTableSize, tenantId } from './recipe/key-table.js';
import { decodeRecipe, MAX_RECIPE, recipeId, type Recipe } from './recipe/public.js';
import { decodeStartList, encodeStartList, startListSize } from './recipe/start-list.js';

/** What readers of images need of a store. */
export interface ImageStore {
  /** Shown to the user. */
  readonly name: string;
  readonly chunks: ChunkStore;
  /** The public part. @returns undefined if there is no image of the name */
  recipe(name: string): Promise<Uint8Array | undefined>;
  /** The names of all images. @throws NodeosError if the store cannot list */
  names(): Promise<string[]>;
  keyTable(recipe: string, tenant: string, most: number): Promise<Uint8Array | undefined>;
  startList(recipe: string, most: number): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

/** What is published with a recipe. Chunks must be there, and durable, before. */
export interface Publication {
  readonly recipe: Uint8Array;
  readonly keys?: { readonly tenant: string; readonly table: Uint8Array } | undefined;
  /** Ids of all chunks. */
  readonly chunks: Iterable<string>;
}

export interface WritableImageStore extends ImageStore {
  readonly chunks: WritableChunkStore;
  /** Gives an image its name; durable afterwards. */
  publish(name: string, publication: Publication): Promise<void>;
  putKeyTable(recipe: string, tenant: string, table: Uint8Array): Promise<void>;
  deleteKeyTable(recipe: string, tenant: string): Promise<void>;
  putStartList(recipe: string, list: Uint8Array): Promise<void>;
  /** Takes the name of an image away. Its chunks stay until a collection. */
  remove(name: string): Promise<void>;
}

export const RECIPES = 'recipes';
export const KEYS = 'keys';
export const STARTS = 'starts';

/** Names are those of tags in a registry. @throws UsageError for any other name */
export function checkName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name)) return name;
  throw new UsageError(`"${name}": no name of an image`, {
    hint: 'letters, digits, and after the first character also . _ -; 128 at most',
  });
}

export function imageStore(place: Place, onRescued?: OnRescued): ImageStore | WritableImageStore {
  const reader: ImageStore = {
    name: place.name,
    chunks: chunkStore(place, onRescued),
    recipe: (name) => place.get(`${RECIPES}/${checkName(name)}`, MAX_RECIPE),
    async names() {
      if (!place.list) throw new NodeosError(`${place.name}: cannot say what it has`, { hint: 'name an image' });
      const names: string[] = [];
      for await (const { path } of place.list(RECIPES)) names.push(path.slice(RECIPES.length + 1));
      return names.sort();
    },
    keyTable: (recipe, tenant, most) => place.get(`${KEYS}/${recipe}.${tenant}`, most),
    startList: (recipe, most) => place.get(`${STARTS}/${recipe}`, most),
    close: async () => place.close?.(),
  };
  if (!isWritable(place)) return reader;
  const put = async (path: string, bytes: Uint8Array): Promise<void> => {
    await place.put(path, bytes);
    await place.sync?.();
  };
  const remove = async (path: string): Promise<void> => {
    if (!place.delete) throw new NodeosError(`${place.name}: deletes nothing`);
    await place.delete(path);
  };
  const writer: WritableImageStore = {
    ...reader,
    chunks: chunkStore(place, onRescued),
    async publish(name, { recipe, keys, chunks }) {
      if (keys) await place.put(`${KEYS}/${recipeId(recipe)}.${keys.tenant}`, keys.table);
      await place.sync?.(pathsOf(chunks));
      await put(`${RECIPES}/${checkName(name)}`, recipe);
    },
    putKeyTable: (recipe, tenant, table) => put(`${KEYS}/${recipe}.${tenant}`, table),
    putStartList: (recipe, list) => put(`${STARTS}/${recipe}`, list),
    remove: (name) => remove(`${RECIPES}/${checkName(name)}`),
    deleteKeyTable: (recipe, tenant) => remove(`${KEYS}/${recipe}.${tenant}`),
  };
  return writer;
}

function* pathsOf(ids: Iterable<string>): Generator<string> {
  for (const id of ids) yield `chunks/${id.slice(0, 2)}/${id}`;
}

/** An image that can be read: its recipe, and the key of each record. */
export interface Image {
  /** `STORE:NAME` */
  readonly name: string;
  /** SHA-256 of the public part. */
  readonly id: string;
  readonly recipe: Recipe;
  /** In the records' order; undefined if the image is not encrypted. */
  readonly keys: readonly Uint8Array[] | undefined;
  /** Blocks in the order in which a start reads them; empty if nobody has recorded that. */
  readonly start: readonly number[];
}

/** @throws NodeosError if there is no such image, or no key for it */
export async function findImage(store: ImageStore, name: string, tenant: Uint8Array | undefined): Promise<Image> {
  const { recipe, id } = await findRecipe(store, name);
  const full = `${store.name}:${name}`;
  const keys = recipe.cipher === 'none' ? undefined : await findKeys(store, full, { recipe, id }, tenant);
  return { name: full, id, recipe, keys, start: await findStartList(store, { recipe, id }) };
}

/** The public part alone, for which no key is needed. @throws NodeosError if there is no such image */
export async function findRecipe(
  store: ImageStore,
  name: string,
): Promise<{ recipe: Recipe; id: string; bytes: Uint8Array }> {
  const bytes = await store.recipe(name);
  if (!bytes)
    throw new NodeosError(`${store.name} has no image "${name}"`, {
      hint: `nodeos store ls ${store.name} says what it has`,
    });
  return { bytes, id: recipeId(bytes), recipe: decodeRecipe(bytes, `${store.name}:${name}`) };
}

async function findKeys(
  store: ImageStore,
  name: string,
  { recipe: { records }, id }: { recipe: Recipe; id: string },
  tenant: Uint8Array | undefined,
): Promise<Buffer[]> {
  if (!tenant)
    throw new NodeosError(`${name} is encrypted, and there is no key`, {
      hint: '--key FILE, or NODEOS_STORE_KEY=FILE',
    });
  const table = await store.keyTable(id, tenantId(tenant), keyTableSize(records.length));
  if (!table) throw new NodeosError(`${name}: its keys are not there for this tenant`, { hint: 'nodeos store rekey' });
  return decodeKeys(table, tenant, { id, count: records.length }, name);
}

async function findStartList(store: ImageStore, { recipe, id }: { recipe: Recipe; id: string }): Promise<number[]> {
  const bytes = await store.startList(id, startListSize(recipe.records.length));
  return bytes ? decodeStartList(bytes, recipe.records) : [];
}

export { encodeStartList };
