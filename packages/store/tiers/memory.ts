/** A tier in memory: the chunks that were used last, as they are stored. */
import { recentlyUsed } from '../recently-used.js';
import type { Tier } from './tiers.js';

/** @param most bytes of chunks; the newest one is kept whatever its size */
export function memoryTier(most: number): Tier {
  const kept = recentlyUsed<string, Uint8Array>(most, ({ byteLength }) => byteLength);
  return {
    name: 'memory',
    isChecked: true, // when it was kept
    has: (id) => Promise.resolve(kept.has(id)),
    get: (id) => Promise.resolve(kept.get(id)),
    keep: (id, stored) => kept.keep(id, stored),
  };
}
