/** Writes chunks one after the other into packs, and says where they are. */
import { storeBlob, type PackRepository } from './blobs.js';
import type { Location } from './pack-index.js';

/** Bytes of a pack, after which the next one begins. It is in memory until it is stored. */
const PACK = 32 << 20;

export interface PackWriter {
  /** Whether it waits for its pack to be stored. */
  isOpen(id: string): boolean;
  put(id: string, stored: Uint8Array): Promise<void>;
  /** Stores what is left. */
  flush(): Promise<void>;
}

/** @param onStored called when a chunk is where it says */
export function packWriter(
  repository: PackRepository,
  onStored: (id: string, location: Location) => void,
  signal: () => AbortSignal,
): PackWriter {
  let open = new Map<string, Uint8Array>();
  let bytes = 0;

  async function flush(): Promise<void> {
    const parts = open;
    open = new Map();
    bytes = 0;
    if (parts.size === 0) return;
    const pack = await storeBlob(repository, Buffer.concat([...parts.values()]), signal());
    let offset = 0;
    for (const [id, { length }] of parts) {
      onStored(id, { pack, offset, length });
      offset += length;
    }
  }

  return {
    isOpen: (id) => open.has(id),
    async put(id, stored) {
      open.set(id, Uint8Array.from(stored));
      bytes += stored.length;
      if (bytes >= PACK) await flush();
    },
    flush,
  };
}
