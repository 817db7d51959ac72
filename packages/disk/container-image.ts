/** The files of a container's image as a disk: an EROFS image of all layers merged, in the cache of images. */
import { join } from 'node:path';
import { file, type BlockBackend } from '@nodeos/block';
import { cacheRoot, messageOf, NodeosError } from '@nodeos/base';
import { writeErofs } from '@nodeos/fs';
import { BlobCache, openImage, type Image, type ImageTree } from '@nodeos/oci';

export const imageCache = (): BlobCache => new BlobCache(join(cacheRoot(), 'images'));

/**
 * The file of an image's EROFS, which is made unless it is there: under the digest of the manifest, so it is the same
 * for all names of the image.
 * @param fetch is called if it must be made
 * @throws NodeosError if a layer cannot be fetched, or is damaged
 */
export function erofsOf(image: Image, fetch: () => Promise<ImageTree>): Promise<string> {
  return imageCache().derived('erofs', image.digest, async (path) => {
    const tree = await fetch();
    try {
      await writeErofs(tree.entries(), path);
    } catch (error) {
      throw new NodeosError(`cannot make a disk of ${image.name}: ${messageOf(error)}`, { cause: error });
    } finally {
      await tree.close();
    }
  });
}

interface OpenImageOptions {
  readonly signal?: AbortSignal;
  /** Bytes that have come, of how many. */
  readonly progress?: (done: number, size: number) => void;
}

/** @throws UsageError if the name is none; NodeosError if the image cannot be fetched, or is for another machine */
export async function openImageDisk(name: string, { signal, progress }: OpenImageOptions): Promise<BlockBackend> {
  const image = await openImage(name, { cache: imageCache(), signal: signal ?? new AbortController().signal });
  try {
    let done = 0;
    const count = (bytes: number): void => progress?.(Math.min(image.size, (done += bytes)), image.size);
    return await file(await erofsOf(image, () => image.tree(count)), { readOnly: true });
  } finally {
    await image.close();
  }
}
