/** Writes the contents of a device to a file: completely, or not at all. */
import { replaceFile } from '@nodeos/base';
import type { BlockBackend } from './backend.js';
import { copy, type CopyOptions } from './copy.js';
import { file } from './file.js';

export interface WriteImageOptions extends Pick<CopyOptions, 'unit' | 'onRead'> {
  /** Called after every piece with the bytes that are done, including holes, and the size of the device. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
  /** Called with the file when all is in it, before it becomes durable and gets its name. */
  readonly complete?: (written: BlockBackend) => Promise<void>;
}

/**
 * Writes all of `from` to a new file, in which zeros become holes. Renames it to `path` once it is durable.
 * @throws the errors of `from` or of the filesystem, or the signal's reason; `path` is unchanged in that case
 */
export function writeImage(from: BlockBackend, path: string, options: WriteImageOptions = {}): Promise<void> {
  return replaceFile(path, async (temporary) => {
    const to = await file(temporary, { create: from.size });
    await fill(to, from, options).finally(() => to.close());
  });
}

async function fill(to: BlockBackend, from: BlockBackend, options: WriteImageOptions): Promise<void> {
  await copy(from, to, { ...options, targetIsZero: true });
  await options.complete?.(to);
  await to.flush?.();
}
