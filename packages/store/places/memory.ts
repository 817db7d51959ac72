/** Files in memory: for tests, and as a scratch store. */
import { tooLarge } from './answers.js';
import type { PrunablePlace } from './place.js';

/** @param now milliseconds since 1970 */
export function memoryPlace(now: () => number = Date.now): PrunablePlace {
  const files = new Map<string, { readonly bytes: Uint8Array; readonly modified: number }>();
  return {
    name: 'memory',
    get: (path, most) => {
      const bytes = files.get(path)?.bytes;
      if (bytes && bytes.length > most) return Promise.reject(tooLarge(path, most));
      return Promise.resolve(bytes);
    },
    size: (path) => Promise.resolve(files.get(path)?.bytes.length),
    put: (path, bytes) => {
      files.set(path, { bytes: Buffer.from(bytes), modified: now() });
      return Promise.resolve();
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is of places that wait
    async *list(folder) {
      for (const [path, { bytes, modified }] of [...files])
        if (path.startsWith(`${folder}/`)) yield { path, size: bytes.length, modified };
    },
    delete: (path) => {
      files.delete(path);
      return Promise.resolve();
    },
    move: (from, to) => {
      const file = files.get(from);
      files.delete(from);
      if (file) files.set(to, { ...file, modified: now() });
      return Promise.resolve(file !== undefined);
    },
  };
}
