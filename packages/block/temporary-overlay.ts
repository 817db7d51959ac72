/** A writable device over a read-only base. Its changes are temporary. */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { temporaryFolder } from '@nodeos/base';
import { withClose } from './around.js';
import type { BlockBackend } from './backend.js';
import { copyOnWrite, formatDelta } from './copy-on-write.js';
import { file } from './file.js';
import { overlayLayout } from './overlay-format.js';

export interface TemporaryOverlayOptions {
  /**
   * The folder for the changes, which may grow to the size of the base. Default: the system's folder for temporary
   * files.
   */
  readonly folder?: string;
  /** Bytes of a block, as for `overlay`. Default 4096. */
  readonly blockSize?: number;
}

/**
 * Stores the changes in a file without a name. The file disappears with this process, however the process ends. `close`
 * leaves the base open, because several overlays may share it. `flush` does nothing, because nothing could survive a
 * crash.
 * @throws the errors of making the file in `folder`
 */
export async function temporaryOverlay(
  base: BlockBackend,
  { folder = tmpdir(), blockSize = 4096 }: TemporaryOverlayOptions = {},
): Promise<BlockBackend> {
  const layout = overlayLayout(base.size, blockSize);
  const delta = await unnamedFile(folder, layout.size);
  try {
    await formatDelta(delta, layout);
    const device = await copyOnWrite(
      withClose(base, () => undefined),
      delta,
      { name: `the temporary overlay in ${folder}` },
    );
    return { ...device, flush: () => undefined };
  } catch (error) {
    await delta.close();
    throw error;
  }
}

/** The file is in a folder that no other user can enter, until its name is removed. */
async function unnamedFile(folder: string, size: number): Promise<BlockBackend> {
  const dir = await temporaryFolder('overlay', { parent: folder });
  try {
    return await file(join(dir, 'changes'), { create: size });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
