/** Values that were used last, up to a number of bytes. */
export interface RecentlyUsed<Key, Value> {
  /** Counts as a use. */
  get(key: Key): Value | undefined;
  has(key: Key): boolean;
  /** Forgets those that were used longest ago, until all fit. The newest one always stays. */
  keep(key: Key, value: Value): void;
}

/**
 * @param most bytes of all values
 * @param sizeOf a value, in bytes; always the same for the same value
 */
export function recentlyUsed<Key, Value>(most: number, sizeOf: (value: Value) => number): RecentlyUsed<Key, Value> {
  /** In order of use, the most recent last. */
  const kept = new Map<Key, Value>();
  let bytes = 0;

  function drop(key: Key): void {
    const value = kept.get(key);
    if (value === undefined) return;
    bytes -= sizeOf(value);
    kept.delete(key);
  }

  return {
    has: (key) => kept.has(key),
    get(key) {
      const value = kept.get(key);
      if (value === undefined) return undefined;
      kept.delete(key);
      kept.set(key, value);
      return value;
    },
    keep(key, value) {
      drop(key);
      kept.set(key, value);
      bytes += sizeOf(value);
      for (const oldest of kept.keys()) {
        if (bytes <= most || oldest === key) break;
        drop(oldest);
      }
    },
  };
}
