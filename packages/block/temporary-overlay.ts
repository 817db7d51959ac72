/** A device that can be written, over one that cannot, and whose changes end with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withClose } from './around.js';
import type { BlockBackend } from './backend.js';
import { copyOnWrite, formatDelta } from './copy-on-write.js';
import { file } from './file.js';
import { overlayLayout } from './overlay-format.js';

export interface TemporaryOverlayOptions {
  /** Where the changes are, which may grow to the size of the base. Default: the system's folder for such files. */
  readonly folder?: string;
  /** Bytes, as of an overlay. Default 4096. */
  readonly blockSize?: number;
}

/**
 * The changes are in a file without a name: it goes with this process, however that ends. `close` leaves the base open;
 * several may share it. `flush` does nothing: there is nothing that could survive.
 * @throws what cannot be made there fails with
 */
export async function temporaryOverlay(
  base: BlockBackend,
  { folder = tmpdir(), blockSize = 4096 }: TemporaryOverlayOptions = {},
): Promise<BlockBackend> {
  const layout = overlayLayout(base.size, blockSize);
  const delta = await nameless(folder, layout.size);
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

/** In a folder that nobody else can enter, until it has lost its name. */
async function nameless(folder: string, size: number): Promise<BlockBackend> {
  const own = await mkdtemp(join(folder, 'nodeos-overlay-'));
  try {
    return await file(join(own, 'changes'), { create: size });
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}
