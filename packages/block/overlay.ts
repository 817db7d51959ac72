/** A writable device over a read-only base. All differences are in one sparse file (overlay-format.ts). */
import { realpath } from 'node:fs/promises';
import { exists, replaceFile } from '@nodeos/base';
import type { BlockBackend } from './backend.js';
import { copyOnWrite, formatDelta } from './copy-on-write.js';
import { file, type FileOptions } from './file.js';
import { lockFile } from './lock-file.js';
import { overlayLayout } from './overlay-format.js';

export interface OverlayOptions {
  /**
   * Bytes of a block, the unit that is either in the overlay or in the base: a power of two from 4 KiB to 1 MiB.
   * Writing a part of a block reads the rest from the base. Default 4096, the block size of most filesystems. Only used
   * when the file is made.
   */
  readonly blockSize?: number;
  /**
   * Identifies the base, such as a digest or the base's `version`. A file of another base is refused. Default: none,
   * which only fits a file made without an identity. For such a file only the size of the base is compared, whatever is
   * given here.
   */
  readonly identity?: string | undefined;
  readonly pace?: FileOptions['pace'];
}

/**
 * Opens the overlay in the file, or makes it. `close` also closes the base, and releases the lock: a file next to the
 * overlay with `.lock` added to its name. `close` loses writes that were not flushed.
 * @throws Error with the code EINVAL if the file is not an overlay of this base or is damaged; EBUSY if another process
 * has it
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

/** Uses another name until the file is durable: a crash leaves a complete overlay or none. */
function create(path: string, baseSize: number, blockSize: number, identity: string): Promise<void> {
  const layout = overlayLayout(baseSize, blockSize);
  return replaceFile(path, async (temporary) => {
    const delta = await file(temporary, { create: layout.size });
    await formatDelta(delta, layout, identity).finally(() => delta.close());
  });
}
