/** Cuts an image into chunks, stores those that are not there, and publishes its recipe. */
import { isZero, type BlockBackend } from '@nodeos/block';
import { NodeosError } from '@nodeos/base';
import { sealer, type CodecName, type Sealed } from '../chunk/seal.js';
import type { WritableChunkStore } from '../chunks.js';
import { type WritableImageStore } from '../images.js';
import { encodeKeys, tenantId } from '../recipe/key-table.js';
import type { Keys } from '../recipe/key-file.js';
import { DEFAULT_BLOCK, encodeRecipe, recipeId, type ChunkRecord, type Recipe } from '../recipe/public.js';
import { blocksOf } from './blocks.js';

export interface PushOptions {
  /** In bytes: a power of two from 4 KiB to 4 MiB. Default 512 KiB. */
  readonly blockSize?: number;
  /** Default `zstd`. */
  readonly codec?: CodecName;
  /** Encrypts the chunks. Default: they are not encrypted. */
  readonly keys?: Keys | undefined;
  /** For people. Default: empty. */
  readonly filesystem?: string;
  /** Names of images in the same registry that may share chunks; other stores know all that they have. Default: `name`. */
  readonly bases?: readonly string[];
  /** Bytes of the image that are done, and its size. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

export interface Pushed {
  readonly id: string;
  readonly recipe: Recipe;
  /** All values are of the chunks of this image, each counted once. */
  readonly chunks: number;
  readonly storedBytes: number;
  /** Chunks that the store did not have, and their bytes. */
  readonly newChunks: number;
  readonly newBytes: number;
}

/** Chunks that are stored at once, while the next blocks are compressed. */
const PUTS = 8;

/**
 * Pushes a device. The image has its new contents at once, when all chunks are durable.
 * @throws NodeosError without a salt to encrypt with; errors of the device and of the store; the signal's reason
 */
export async function push(
  device: BlockBackend,
  store: WritableImageStore,
  name: string,
  options: PushOptions = {},
): Promise<Pushed> {
  const { blockSize = DEFAULT_BLOCK, codec = 'zstd', keys, filesystem = '', progress, bases = [], signal } = options;
  const uploads = uploader(store.chunks);
  const seal = await sealer(codec, saltOf(keys));
  // A registry knows the chunks of the images that were read from it.
  for (const known of [name, ...bases]) await store.recipe(known);
  const records: SealedRecord[] = [];
  for await (const { index, block } of blocksOf(device, blockSize, progress)) {
    signal?.throwIfAborted();
    const sealed = isZero(block) ? undefined : await seal(block);
    if (!sealed) continue;
    await uploads.add(sealed);
    records.push(recordOf(index, sealed));
  }
  await uploads.done();
  return publish(store, name, { size: device.size, blockSize, codec, filesystem, keys, records }, uploads);
}

export type SealedRecord = ChunkRecord & { readonly key: Uint8Array | undefined };

export const recordOf = (index: number, { id, stored, rawLength, key }: Sealed): SealedRecord => ({
  index,
  rawLength,
  storedLength: stored.length,
  id,
  key,
});

interface Draft extends Omit<Recipe, 'records' | 'cipher'> {
  readonly keys: Keys | undefined;
  readonly records: readonly SealedRecord[];
}

/** Publishes records whose chunks are stored. */
export async function publish(
  store: WritableImageStore,
  name: string,
  { keys, records, ...draft }: Draft,
  uploads: Pick<Uploader, 'newChunks' | 'newBytes' | 'checkKept'>,
): Promise<Pushed> {
  const recipe: Recipe = {
    ...draft,
    cipher: keys ? 'aes-256-ctr' : 'none',
    records: records.map(({ index, rawLength, storedLength, id }) => ({ index, rawLength, storedLength, id })),
  };
  const bytes = encodeRecipe(recipe);
  const id = recipeId(bytes);
  const chunkKeys = records.map(({ key }) => key).filter((key) => key !== undefined);
  const table = keys && { tenant: tenantId(keys.tenant), table: encodeKeys(chunkKeys, keys.tenant, id) };
  const distinct = new Map(records.map((record) => [record.id, record.storedLength]));
  await store.publish(name, { recipe: bytes, keys: table, chunks: distinct.keys() });
  await uploads.checkKept(distinct);
  const storedBytes = [...distinct.values()].reduce((sum, length) => sum + length, 0);
  return {
    id,
    recipe,
    chunks: distinct.size,
    storedBytes,
    newChunks: uploads.newChunks(),
    newBytes: uploads.newBytes(),
  };
}

/** @throws NodeosError if there is a key and no salt */
export function saltOf(keys: Keys | undefined): Buffer | undefined {
  if (keys && !keys.salt)
    throw new NodeosError('the key file has no salt, so nothing can be pushed with it', {
      hint: 'take the line "salt" from another key file of the same trust domain',
    });
  return keys?.salt;
}

export interface Uploader {
  /** Resolves as soon as there is room for another one. */
  add(sealed: Sealed): Promise<void>;
  /** Resolves when all are stored. */
  done(): Promise<void>;
  /**
   * A collection that began before the recipe had its name may have condemned chunks that were there already. Asking for
   * them takes them back, and later collections know the recipe.
   * @throws NodeosError if one was deleted: the push took longer than the grace period
   */
  checkKept(lengths: ReadonlyMap<string, number>): Promise<void>;
  newChunks(): number;
  newBytes(): number;
}

/** Stores chunks that are not there, some at once, and each once. */
export function uploader(chunks: WritableChunkStore): Uploader {
  const known = new Set<string>();
  const added = new Set<string>();
  const under = new Set<Promise<void>>();
  let [count, bytes] = [0, 0];
  let failed: { readonly error: unknown } | undefined;

  async function store({ id, stored }: Sealed): Promise<void> {
    if (await chunks.has(id, stored.length)) return;
    await chunks.put(id, stored);
    added.add(id);
    count++;
    bytes += stored.length;
  }

  return {
    async add(sealed) {
      if (failed) throw failed.error;
      if (known.has(sealed.id)) return;
      known.add(sealed.id);
      const work: Promise<void> = store(sealed)
        .catch((error: unknown) => void (failed ??= { error }))
        .finally(() => under.delete(work));
      under.add(work);
      if (under.size >= PUTS) await Promise.race(under);
    },
    async done() {
      await Promise.all(under);
      if (failed) throw failed.error;
    },
    async checkKept(lengths) {
      const work = [...lengths].filter(([id]) => !added.has(id)).values();
      const next = async (): Promise<void> => {
        for (const [id, length] of work)
          if (!(await chunks.has(id, length)))
            throw new NodeosError(`the chunk ${id} was collected while the image was pushed`, {
              hint: 'push it again, and collect with a longer --grace',
            });
      };
      await Promise.all(Array.from({ length: PUTS }, () => next()));
    },
    newChunks: () => count,
    newBytes: () => bytes,
  };
}
