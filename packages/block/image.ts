/** Writing what a device holds into a file: whole, or not at all. */
import { randomBytes } from 'node:crypto';
import { rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockBackend } from './backend.js';
import { file } from './file.js';
import { extentsOf, pieces } from './sizes.js';
import { syncDirectory } from './sync-directory.js';

export interface WriteImageOptions {
  /** Told after every piece, with numbers of bytes; holes count as written. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

const PIECE = 1 << 20;
/** How much of a device is asked for its extents at once. */
const SPAN = 1 << 30;

/**
 * Writes all of `from` into a new file, in which zeros become holes, and renames it to `path` when it is durable.
 * @throws what `from` or the filesystem fails with, or the signal's reason; `path` is then as it was
 */
export async function writeImage(from: BlockBackend, path: string, options: WriteImageOptions = {}): Promise<void> {
  const partial = `${path}.${randomBytes(6).toString('hex')}.partial`;
  const to = await file(partial, { create: from.size });
  try {
    await copy(from, to, options).finally(() => to.close());
    await rename(partial, path);
  } catch (error) {
    await unlink(partial);
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function copy(from: BlockBackend, to: BlockBackend, { progress, signal }: WriteImageOptions): Promise<void> {
  const buffer = new Uint8Array(PIECE);
  for (const [start, length] of pieces(0, from.size, SPAN)) {
    for (const extent of await extentsOf(from, start, length)) {
      for (const [offset, count] of extent.zero ? [] : pieces(extent.offset, extent.length, PIECE)) {
        signal?.throwIfAborted();
        const piece = buffer.subarray(0, count);
        await from.read(piece, offset);
        await to.write?.(piece, offset);
        progress?.(offset + count, from.size);
      }
      progress?.(extent.offset + extent.length, from.size);
    }
  }
  signal?.throwIfAborted();
  await to.flush?.();
}
