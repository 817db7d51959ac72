/** Writes the contents of a device to a file: completely, or not at all. */
import { replaceFile } from '@nodeos/base';
import type { BlockBackend } from './backend.js';
import { copy, type CopyOptions } from './copy.js';
import { writesDirectly } from './direct.js';
import { file } from './file.js';

export interface WriteImageOptions extends Pick<CopyOptions, 'unit' | 'onRead'> {
  /**
   * Write past the page cache, if the filesystem can. That is for large images: copies of them in the cache take their
   * time, and push out what others need. Default false.
   */
  readonly direct?: boolean;
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
    const cached = await file(temporary, { create: from.size });
    const to = options.direct ? await writesDirectly(cached, temporary) : cached;
    await fill(to, from, options).finally(() => to.close());
  });
}

async function fill(to: BlockBackend, from: BlockBackend, options: WriteImageOptions): Promise<void> {
  await copy(from, to, { ...options, targetIsZero: true, pageAligned: options.direct ?? false });
  await options.complete?.(to);
  await to.flush?.();
}
