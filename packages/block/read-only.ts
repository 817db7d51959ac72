import { delegate } from './around.js';
import type { BlockBackend } from './backend.js';
import { openShared, shareable, wrapping, type Recipe } from './shared.js';

/** `inner` without the methods that change it. */
export function readOnly(inner: BlockBackend): BlockBackend {
  const { blockSizes, version, read, extents, prefetch, close } = delegate(inner);
  const device: BlockBackend = {
    get size() {
      return inner.size;
    },
    blockSizes,
    version,
    read,
    ...(extents && { extents }),
    ...(prefetch && { prefetch }),
    close,
  };
  return shareable(device, wrapping(inner, import.meta.url, openReadOnly.name, {}));
}

/** Opens a read-only device of another thread. */
export const openReadOnly = async ({ inner }: { inner: Recipe }): Promise<BlockBackend> =>
  readOnly(await openShared(inner));
