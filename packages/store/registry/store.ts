/**
 * Images in a repository of a registry of containers. New chunks of an image are written one after the other into packs,
 * which are blobs, and read from there by range.
 */
import { NodeosError } from '@nodeos/base';
import type { WritableImageStore } from '../images.js';
import { checkName } from '../images.js';
import type { WritableChunkStore } from '../chunks.js';
import { decodeRecipe, MAX_RECIPE, recipeId, type Recipe } from '../recipe/public.js';
import { readBlob, storeBlob, wholeBlob, type PackRepository } from './blobs.js';
import { EMPTY, encodeRemoved, type Blob, type ImageManifest } from './manifest.js';
import { decodePackIndex, encodePackIndex, type Location } from './pack-index.js';
import { packWriter } from './pack-writer.js';
import { decodeTagged, readTag, replaceImage, replaceTag, type ImageContents } from './tag.js';

interface Loaded {
  readonly tag: string;
  readonly manifest: ImageContents;
}

/** One for each request: listeners on a common one would never go. */
const never = (): AbortSignal => new AbortController().signal;

/** The recipe of an image, and where its chunks are. @throws NodeosError if they are not what the manifest says */
export async function readImage(
  repository: PackRepository,
  manifest: ImageManifest,
  full: string,
  signal: AbortSignal,
): Promise<{ readonly bytes: Buffer; readonly recipe: Recipe; readonly places: Map<string, Location> }> {
  const read = (blob: Blob, what: string): Promise<Buffer> =>
    wholeBlob(repository, blob, { most: MAX_RECIPE, what }, signal);
  const bytes = await read(manifest.recipe, 'the recipe');
  const recipe = decodeRecipe(bytes, full);
  const index = await read(manifest.index, 'the index');
  return { bytes, recipe, places: decodePackIndex(index, recipe, manifest.packs, full) };
}

/** The packs that the chunks of an image are in, in the order of its records. */
export function packsOf({ records }: Recipe, placeOf: (id: string) => Location | undefined): Blob[] {
  const used = new Map<string, Blob>();
  for (const { id } of records) {
    const pack = placeOf(id)?.pack;
    if (pack) used.set(pack.digest, pack);
  }
  return [...used.values()];
}

export function registryStore(repository: PackRepository): WritableImageStore {
  const { name } = repository;
  /** Of all images that were loaded, and of what was put. */
  const locations = new Map<string, Location>();
  /** By the recipe's id. */
  const loaded = new Map<string, Loaded>();
  const packs = packWriter(repository, (id, location) => locations.set(id, location), never);
  const whole = (blob: Blob, most: number, what: string): Promise<Buffer> =>
    wholeBlob(repository, blob, { most, what }, never());
  const store = (bytes: Uint8Array): Promise<Blob> => storeBlob(repository, bytes, never());

  /** The manifest of an image. @returns undefined if there is none, or it was removed */
  async function find(tag: string): Promise<ImageManifest | undefined> {
    const found = await readTag(repository, checkName(tag), never());
    const decoded = found && decodeTagged(found.bytes, `${name}:${tag}`);
    if (decoded?.kind === 'other') throw new NodeosError(`${name}:${tag}: this is no image of a store of chunks`);
    return decoded?.kind === 'image' ? decoded.manifest : undefined;
  }

  async function load(tag: string): Promise<Uint8Array | undefined> {
    const manifest = await find(tag);
    if (!manifest) return undefined;
    const { bytes, places } = await readImage(repository, manifest, `${name}:${tag}`, never());
    for (const [id, location] of places) locations.set(id, location);
    loaded.set(recipeId(bytes), { tag, manifest });
    return bytes;
  }

  /** A collection has moved chunks, and the registry has deleted where they were: the manifests say where they are. */
  let reloading: Promise<unknown> | undefined;
  const reload = (): Promise<unknown> =>
    (reloading ??= Promise.all([...new Set([...loaded.values()].map(({ tag }) => tag))].map(load)).finally(
      () => (reloading = undefined),
    ));

  async function readChunk(id: string): Promise<Buffer | undefined> {
    const location = locations.get(id);
    if (!location) return undefined;
    try {
      return await readBlob(repository, location.pack, location, never());
    } catch (error) {
      if ((error as { status?: unknown }).status !== 404) throw error;
      await reload();
      const moved = locations.get(id);
      if (!moved || moved.pack.digest === location.pack.digest) throw error;
      return readBlob(repository, moved.pack, moved, never());
    }
  }

  /** Puts the manifest of a loaded image again, with something more. */
  async function amend(recipe: string, change: (manifest: ImageContents) => ImageContents): Promise<void> {
    const { tag } = loaded.get(recipe) ?? {};
    if (tag === undefined) throw new NodeosError(`${name}: the image with the recipe ${recipe} was not read before`);
    const tagged = await readTag(repository, tag, never());
    const decoded = tagged && decodeTagged(tagged.bytes, `${name}:${tag}`);
    if (decoded?.kind !== 'image' || decoded.manifest.recipe.digest !== `sha256:${recipe}`)
      throw new NodeosError(`${name}:${tag} has got other contents meanwhile, which stay`);
    const manifest = change(decoded.manifest);
    await replaceImage(repository, tag, tagged, manifest, never());
    loaded.set(recipe, { tag, manifest });
  }

  const chunks: WritableChunkStore = {
    name,
    has: (id, length) => {
      const found = locations.get(id);
      const isThere = found !== undefined && (length === undefined || found.length === length);
      return Promise.resolve(isThere || packs.isOpen(id));
    },
    get: readChunk,
    put: (id, stored) => packs.put(id, stored),
  };

  return {
    name,
    chunks,
    recipe: load,
    async names() {
      const names: string[] = [];
      for (const tag of await repository.tags(never())) {
        const found = await readTag(repository, tag, never());
        if (found && decodeTagged(found.bytes, `${name}:${tag}`).kind === 'image') names.push(tag);
      }
      return names;
    },
    async keyTable(recipe, tenant, most) {
      const blob = loaded.get(recipe)?.manifest.keys.get(tenant);
      return blob && whole(blob, most, 'the table of keys');
    },
    async startList(recipe, most) {
      const blob = loaded.get(recipe)?.manifest.start;
      return blob && blob.size <= most ? whole(blob, most, 'the start list') : undefined;
    },
    async publish(tag, { recipe: bytes, keys }) {
      await packs.flush();
      const recipe = decodeRecipe(bytes, `${name}:${tag}`);
      const used = packsOf(recipe, (id) => locations.get(id));
      await store(EMPTY);
      const manifest: ImageContents = {
        recipe: await store(bytes),
        index: await store(encodePackIndex(recipe, used, locations)),
        keys: new Map(keys ? [[keys.tenant, await store(keys.table)]] : []),
        start: undefined,
        packs: used,
      };
      const before = await readTag(repository, checkName(tag), never());
      await replaceImage(repository, tag, before, manifest, never());
      loaded.set(recipeId(bytes), { tag, manifest });
    },
    async putKeyTable(recipe, tenant, table) {
      const blob = await store(table);
      await amend(recipe, (manifest) => ({ ...manifest, keys: new Map([...manifest.keys, [tenant, blob]]) }));
    },
    deleteKeyTable: (recipe, tenant) =>
      amend(recipe, (manifest) => ({
        ...manifest,
        keys: new Map([...manifest.keys].filter(([other]) => other !== tenant)),
      })),
    async putStartList(recipe, list) {
      const start = await store(list);
      await amend(recipe, (manifest) => ({ ...manifest, start }));
    },
    /** The tag stays, for something that names what was there: a collection finds it, and deletes both. */
    async remove(tag) {
      const before = await readTag(repository, checkName(tag), never());
      if (!before || decodeTagged(before.bytes, `${name}:${tag}`).kind !== 'image') return;
      await store(EMPTY);
      await replaceTag(repository, tag, before, encodeRemoved, never());
    },
    close: () => Promise.resolve(),
  };
}
