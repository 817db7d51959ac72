import { passedOn } from './around.js';
import type { BlockBackend } from './backend.js';

/** What can be read of `inner`: its methods that change something are absent. */
export function readOnly(inner: BlockBackend): BlockBackend {
  const { blockSizes, version, read, extents, prefetch, close } = passedOn(inner);
  return {
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
}
