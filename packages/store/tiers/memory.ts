/** A tier in memory: the chunks that were used last, as they are stored. */
import type { Tier } from './tiers.js';

/** @param most bytes of chunks */
export function memoryTier(most: number): Tier {
  /** In order of use, the most recent last. */
  const kept = new Map<string, Uint8Array>();
  let bytes = 0;
  const drop = (id: string): void => {
    bytes -= kept.get(id)?.byteLength ?? 0;
    kept.delete(id);
  };
  return {
    name: 'memory',
    isTrusted: true,
    has: (id) => Promise.resolve(kept.has(id)),
    get: (id) => {
      const found = kept.get(id);
      if (found) {
        kept.delete(id);
        kept.set(id, found);
      }
      return Promise.resolve(found);
    },
    keep: (id, stored) => {
      drop(id);
      kept.set(id, stored);
      bytes += stored.byteLength;
      for (const oldest of kept.keys()) {
        if (bytes <= most) break;
        drop(oldest);
      }
    },
  };
}
