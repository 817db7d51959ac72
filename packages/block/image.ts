/** Writing what a device holds into a file: whole, or not at all. */
import { replaceFile } from '@nodeos/base';
import type { BlockBackend } from './backend.js';
import { copy } from './copy.js';
import { file } from './file.js';

export interface WriteImageOptions {
  /** Told after every piece: bytes that are done, holes among them, and all of them. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Writes all of `from` into a new file, in which zeros become holes, and renames it to `path` when it is durable.
 * @throws what `from` or the filesystem fails with, or the signal's reason; `path` is then as it was
 */
export function writeImage(from: BlockBackend, path: string, options: WriteImageOptions = {}): Promise<void> {
  return replaceFile(path, async (made) => {
    const to = await file(made, { create: from.size });
    await fill(to, from, options).finally(() => to.close());
  });
}

async function fill(to: BlockBackend, from: BlockBackend, options: WriteImageOptions): Promise<void> {
  await copy(from, to, { ...options, targetIsZero: true });
  await to.flush?.();
}
