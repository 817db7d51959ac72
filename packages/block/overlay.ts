/** A device that can be written, over one that cannot: what differs is in one sparse file (overlay-format.ts). */
import { realpath } from 'node:fs/promises';
import { exists, replaceFile } from '@nodeos/base';
import type { BlockBackend } from './backend.js';
import { copyOnWrite, formatDelta } from './copy-on-write.js';
import { file, type FileOptions } from './file.js';
import { lockFile } from './lock-file.js';
import { overlayLayout } from './overlay-format.js';

export interface OverlayOptions {
  /**
   * Bytes that are here or in the base together: a power of two from 4 KiB to 1 MiB. A write of a part of a block reads
   * the others from the base. Default 4096, the unit of most filesystems. Counts when the file is made.
   */
  readonly blockSize?: number;
  /**
   * Which base it belongs to, such as a digest or the base's `version`: the file of another one is refused. Default:
   * none, which only suits a file that was made without one. Of that only the size is compared, whatever is given here.
   */
  readonly identity?: string | undefined;
  readonly pace?: FileOptions['pace'];
}

/**
 * Opens the overlay in the file, or makes one. `close` closes the base too, and gives back the lock on the file, which
 * is a file of the same name and `.lock`. What was not flushed is lost by it.
 * @throws Error with the code EINVAL if the file is no overlay of this base, or damaged; EBUSY if another process has it
 */
export async function overlay(base: BlockBackend, path: string, options: OverlayOptions = {}): Promise<BlockBackend> {
  const { blockSize = 4096, identity = '', pace } = options;
  const target = await realpath(path).catch(() => path);
  const unlock = await lockFile(`${target}.lock`);
  try {
    if (!(await exists(target))) await create(target, base.size, blockSize, identity);
    const delta = await file(target, pace === undefined ? {} : { pace });
    const device = await copyOnWrite(base, delta, { identity, name: target }).catch(async (error: unknown) => {
      await delta.close();
      throw error;
    });
    return Object.assign(device, {
      close: async () => {
        await delta.close();
        await unlock();
        await base.close();
      },
    });
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** Under another name until it is durable: a crash leaves an overlay or none. */
function create(path: string, baseSize: number, blockSize: number, identity: string): Promise<void> {
  const layout = overlayLayout(baseSize, blockSize);
  return replaceFile(path, async (made) => {
    const delta = await file(made, { create: layout.size });
    await formatDelta(delta, layout, identity).finally(() => delta.close());
  });
}
