/**
 * Images in a repository of a registry of containers. New chunks of an image are written one after the other into packs,
 * which are blobs, and read from there by range.
 */
import { NodeosError, UsageError } from '@nodeos/base';
import { failure } from '@nodeos/block';
import type { WritableImageStore } from '../images.js';
import { checkName } from '../images.js';
import type { WritableChunkStore } from '../chunks.js';
import { decodeRecipe, MAX_RECIPE, recipeId } from '../recipe/public.js';
import { blobOf, decodeManifest, EMPTY, encodeManifest, TYPES, type Blob, type ImageManifest } from './manifest.js';
import { decodePackIndex, encodePackIndex, type Location } from './pack-index.js';

/** What is used of a repository. `Repository` of `@nodeos/oci` is one. */
export interface PackRepository {
  /** Shown to the user. */
  readonly name: string;
  manifest(tag: string, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array } | undefined>;
  /**
   * Opens a blob.
   * @param offset of the first byte
   * @param length bytes that are wanted; more may come, and are not read
   * @returns the bytes from `offset`, or from an earlier one
   */
  blob(
    blob: Blob,
    offset: number,
    signal: AbortSignal,
    length?: number,
  ): Promise<{ readonly offset: number; readonly body: AsyncIterable<Uint8Array> }>;
  putBlob(blob: Blob, open: () => Uint8Array, signal: AbortSignal): Promise<unknown>;
  putManifest(
    tag: string,
    document: { readonly bytes: Buffer; readonly mediaType: string },
    signal: AbortSignal,
  ): Promise<unknown>;
}

/** Bytes of a pack, after which the next one begins. It is in memory until it is stored. */
const PACK = 32 << 20;

interface Loaded {
  readonly tag: string;
  readonly manifest: ImageManifest;
}

/** One for each request: listeners on a common one would never go. */
const never = (): AbortSignal => new AbortController().signal;

export function registryStore(repository: PackRepository): WritableImageStore {
  const { name } = repository;
  /** Of all images that were loaded, and of what was put. */
  const locations = new Map<string, Location>();
  /** By the recipe's id. */
  const loaded = new Map<string, Loaded>();
  const open: { bytes: Uint8Array; id: string }[] = [];
  let openBytes = 0;

  async function read(blob: Blob, offset: number, length: number): Promise<Buffer> {
    const { offset: from, body } = await repository.blob(blob, offset, never(), length);
    const into = Buffer.alloc(length);
    let [at, filled] = [from, 0];
    for await (const part of body) {
      const useful = part.subarray(Math.max(0, offset + filled - at), offset + length - at);
      into.set(useful, filled);
      filled += useful.length;
      at += part.length;
      if (filled === length) return into; // which ends the answer too
    }
    throw failure('EIO', `${name}: ${blob.digest} ends at byte ${at}, and ${offset + length} are wanted`);
  }

  /** A whole blob, which is what its digest says. */
  async function whole(blob: Blob, most: number, what: string): Promise<Buffer> {
    if (blob.size > most) throw new NodeosError(`${name}: ${what} has ${blob.size} bytes; ${most} are the most`);
    const bytes = await read(blob, 0, blob.size);
    if (blobOf(bytes).digest === blob.digest) return bytes;
    throw new NodeosError(`${name}: ${what} is not what its digest says`);
  }

  async function load(tag: string): Promise<Uint8Array | undefined> {
    const document = await repository.manifest(checkName(tag), never());
    if (!document) return undefined;
    const full = `${name}:${tag}`;
    const manifest = decodeManifest(document.bytes, full);
    const bytes = await whole(manifest.recipe, MAX_RECIPE, 'the recipe');
    const recipe = decodeRecipe(bytes, full);
    const index = await whole(manifest.index, MAX_RECIPE, 'the index');
    for (const [id, location] of decodePackIndex(index, recipe, manifest.packs, full)) locations.set(id, location);
    loaded.set(recipeId(bytes), { tag, manifest });
    return bytes;
  }

  async function storePack(): Promise<void> {
    const parts = open.splice(0);
    openBytes = 0;
    if (parts.length === 0) return;
    const bytes = Buffer.concat(parts.map((part) => part.bytes));
    const pack = blobOf(bytes);
    await repository.putBlob(pack, () => bytes, never());
    let offset = 0;
    for (const { id, bytes: stored } of parts) {
      locations.set(id, { pack, offset, length: stored.length });
      offset += stored.length;
    }
  }

  async function store(bytes: Uint8Array): Promise<Blob> {
    const blob = blobOf(bytes);
    await repository.putBlob(blob, () => bytes, never());
    return blob;
  }

  async function putManifest(tag: string, manifest: ImageManifest): Promise<void> {
    const bytes = encodeManifest(manifest, `${name}:${tag}`);
    await repository.putManifest(tag, { bytes, mediaType: TYPES.manifest }, never());
  }

  /** Puts the manifest of a loaded image again, with something more. */
  async function amend(recipe: string, change: (manifest: ImageManifest) => ImageManifest): Promise<void> {
    const found = loaded.get(recipe);
    if (!found) throw new NodeosError(`${name}: the image with the recipe ${recipe} was not read before`);
    const manifest = change(found.manifest);
    await putManifest(found.tag, manifest);
    loaded.set(recipe, { ...found, manifest });
  }

  const chunks: WritableChunkStore = {
    name,
    has: (id, length) => {
      const found = locations.get(id);
      const isThere = found !== undefined && (length === undefined || found.length === length);
      return Promise.resolve(isThere || open.some((part) => part.id === id));
    },
    async get(id) {
      const location = locations.get(id);
      return location && read(location.pack, location.offset, location.length);
    },
    async put(id, stored) {
      open.push({ id, bytes: Uint8Array.from(stored) });
      openBytes += stored.length;
      if (openBytes >= PACK) await storePack();
    },
  };

  return {
    name,
    chunks,
    recipe: load,
    names: () =>
      Promise.reject(new NodeosError(`${name}: a registry is asked for images by name`, { hint: `${name}:NAME` })),
    async keyTable(recipe, tenant, most) {
      const blob = loaded.get(recipe)?.manifest.keys.get(tenant);
      return blob && whole(blob, most, 'the table of keys');
    },
    async startList(recipe, most) {
      const blob = loaded.get(recipe)?.manifest.start;
      return blob && blob.size <= most ? whole(blob, most, 'the start list') : undefined;
    },
    async publish(tag, { recipe: bytes, keys }) {
      await storePack();
      const recipe = decodeRecipe(bytes, `${name}:${tag}`);
      const used = new Map<string, Blob>();
      for (const { id } of recipe.records) {
        const pack = locations.get(id)?.pack;
        if (pack) used.set(pack.digest, pack);
      }
      const packs = [...used.values()];
      await store(EMPTY);
      const manifest: ImageManifest = {
        recipe: await store(bytes),
        index: await store(encodePackIndex(recipe, packs, locations)),
        keys: new Map(keys ? [[keys.tenant, await store(keys.table)]] : []),
        start: undefined,
        packs,
      };
      await putManifest(checkName(tag), manifest);
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
    remove: (tag) =>
      Promise.reject(
        new UsageError(`${name}:${tag}: a registry deletes by its own tools`, {
          hint: `skopeo delete docker://${name}:${tag}`,
        }),
      ),
    close: () => Promise.resolve(),
  };
}
