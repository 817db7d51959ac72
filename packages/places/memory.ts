/** Files in memory: for tests, and as a scratch store. */
import { Readable } from 'node:stream';
import { collected } from '@nodeos/base';
import { tooLarge } from './answers.js';
import { bodyOf, sizeOf, type PrunablePlace } from './place.js';

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
    open: (path) => {
      const bytes = files.get(path)?.bytes;
      return Promise.resolve(bytes && Readable.from([bytes]));
    },
    async put(path, content) {
      const body = bodyOf(content);
      const all =
        body instanceof Uint8Array
          ? Buffer.from(body)
          : collected(body, sizeOf(content), () => tooLarge(path, sizeOf(content)));
      files.set(path, { bytes: await all, modified: now() });
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
