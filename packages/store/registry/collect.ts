/**
 * Collection in a registry. It has no list of blobs and no times of them, and only its own collection frees bytes. So:
 *
 * 1. All images are read, each with its recipe and the index of its packs. One that cannot be read ends the collection
 *    before anything happens.
 * 2. Of packs of which less than half is needed, the needed chunks are moved: read by range, checked, written into new
 *    packs.
 * 3. Each image concerned gets a manifest with its new packs, if nobody has pushed it meanwhile. Packs that it needs
 *    nothing of leave it.
 * 4. Manifests that were replaced longer ago than the grace period are deleted, the oldest first, so that those that are
 *    left are found by the next collection. Only then does the registry's own collection free what they alone have named.
 *
 * Each step adds a blob, or replaces or deletes one manifest: killed at any moment, it leaves the old manifest or the new
 * one, and all packs of both. Blobs are not deleted here: a push that has found one there would lose it. What a killed
 * collection has stored in vain no manifest names, and the registry frees it.
 */
import { storeBlob, type PackRepository } from './blobs.js';
import { encodePackIndex } from './pack-index.js';
import { moveChunks, type Moved } from './rewrite.js';
import { packsOf, readImage } from './store.js';
import { keptDigests, survey, type NeededPack, type Survey, type TaggedImage } from './survey.js';
import { replaceImage, TagChangedError } from './tag.js';

export interface CollectPacksOptions {
  /** Milliseconds for which a manifest stays after it was replaced. */
  readonly grace: number;
  /** A pack of which less than this share is needed, from 0 to 1, is written anew. Default 0.5. */
  readonly share?: number;
  /** Only says what would happen. */
  readonly isDry?: boolean;
  /** What is under way, how much of it is done, and all of it: tags, then bytes. */
  readonly progress?: (what: 'reading' | 'moving', done: number, all: number) => void;
  readonly signal?: AbortSignal;
  readonly now?: () => number;
}

export interface CollectedPacks {
  readonly images: number;
  /** Packs that the images name, and their bytes. */
  readonly packs: number;
  readonly packBytes: number;
  /** Bytes of them that an image needs. */
  readonly neededBytes: number;
  /** Packs of which chunks were moved into new ones, and those of which nothing is needed. */
  readonly rewritten: number;
  readonly dropped: number;
  /** Bytes that were read and stored anew. */
  readonly movedBytes: number;
  /** Bytes of rewritten and dropped packs that nobody needs: free after the grace period and the registry's collection. */
  readonly unneededBytes: number;
  /** Images that got a new manifest. */
  readonly updated: number;
  /** Images that somebody has changed meanwhile, and that were left alone. */
  readonly changed: number;
  /** Chunks that are not what their ids say; they stay where they are. */
  readonly damaged: number;
  /** Replaced manifests: deleted, and too young for that. */
  readonly deleted: number;
  readonly waiting: number;
  /** Replaced manifests that stay because the registry deletes nothing. */
  readonly refused: number;
}

const LEAST_SHARE = 0.5;

/** @throws NodeosError if an image cannot be read; errors of the registry; the signal's reason */
export async function collectPacks(
  repository: PackRepository,
  {
    grace,
    share = LEAST_SHARE,
    isDry = false,
    progress,
    signal = new AbortController().signal,
    now = Date.now,
  }: CollectPacksOptions,
): Promise<CollectedPacks> {
  const found = await survey(repository, signal, (done, all) => progress?.('reading', done, all));
  const packs = [...found.packs.values()];
  const sparse = packs.filter(({ blob, bytes }) => bytes < share * blob.size || bytes === 0);
  const emptied = sparse.filter(({ bytes }) => bytes > 0);
  const toMove = bytesOf(emptied);
  const moved: Moved = isDry
    ? { places: new Map(), bytes: toMove, damaged: 0 }
    : await moveChunks(repository, emptied, signal, (done) => progress?.('moving', done, toMove));
  const updates = await update(repository, found.images, { sparse, moved, isDry, signal });
  return {
    images: found.images.length,
    packs: packs.length,
    packBytes: sizeOf(packs),
    neededBytes: bytesOf(packs),
    rewritten: emptied.length,
    dropped: sparse.length - emptied.length,
    movedBytes: moved.bytes,
    unneededBytes: sizeOf(sparse) - toMove,
    ...updates,
    damaged: moved.damaged,
    ...(await deleteReplaced(repository, found, { isOld: (since) => now() - since > grace, isDry, signal })),
  };
}

const bytesOf = (packs: readonly NeededPack[]): number => packs.reduce((sum, { bytes }) => sum + bytes, 0);
const sizeOf = (packs: readonly NeededPack[]): number => packs.reduce((sum, { blob }) => sum + blob.size, 0);

/** Gives each image that names a sparse pack a manifest without it. */
async function update(
  repository: PackRepository,
  images: readonly TaggedImage[],
  {
    sparse,
    ...rest
  }: {
    readonly sparse: readonly NeededPack[];
    readonly moved: Moved;
    readonly isDry: boolean;
    readonly signal: AbortSignal;
  },
): Promise<Pick<CollectedPacks, 'updated' | 'changed'>> {
  const left = new Set(sparse.map(({ blob }) => blob.digest));
  const concerned = images.filter(({ manifest }) => manifest.packs.some(({ digest }) => left.has(digest)));
  if (rest.isDry) return { updated: concerned.length, changed: 0 };
  let [updated, changed] = [0, 0];
  for (const image of concerned) {
    try {
      await moveImage(repository, image, { left, ...rest });
      updated++;
    } catch (error) {
      if (!(error instanceof TagChangedError)) throw error;
      changed++;
    }
  }
  return { updated, changed };
}

async function moveImage(
  repository: PackRepository,
  { tag, tagged, manifest }: TaggedImage,
  { left, moved, signal }: { readonly left: ReadonlySet<string>; readonly moved: Moved; readonly signal: AbortSignal },
): Promise<void> {
  const { recipe, places } = await readImage(repository, manifest, `${repository.name}:${tag}`, signal);
  for (const [id, { pack }] of places) {
    const place = left.has(pack.digest) ? moved.places.get(id) : undefined;
    if (place) places.set(id, place);
  }
  const packs = packsOf(recipe, (id) => places.get(id));
  const index = await storeBlob(repository, encodePackIndex(recipe, packs, places), signal);
  await replaceImage(repository, tag, tagged, { ...manifest, index, packs }, signal);
}

/** Tags are read once more before anything is deleted: one of them may stand for an old manifest again. */
async function deleteReplaced(
  repository: PackRepository,
  { replaced }: Survey,
  {
    isOld,
    isDry,
    signal,
  }: { readonly isOld: (since: number) => boolean; readonly isDry: boolean; readonly signal: AbortSignal },
): Promise<Pick<CollectedPacks, 'deleted' | 'waiting' | 'refused'>> {
  const counts = { deleted: 0, waiting: 0, refused: 0 };
  const kept = replaced.some((line) => line.length > 0) ? await keptDigests(repository, signal) : new Set<string>();
  for (const line of replaced)
    for (const [number, { digest, since }] of line.entries()) {
      signal.throwIfAborted();
      if (since === undefined || !isOld(since) || kept.has(digest)) {
        // Newer ones stay too: they lead to this one.
        counts.waiting += line.length - number;
        break;
      }
      const answer = isDry ? 'deleted' : await repository.deleteManifest(digest, signal);
      if (answer === 'refused') {
        counts.refused += line.length - number;
        break;
      }
      counts.deleted++;
    }
  return counts;
}
