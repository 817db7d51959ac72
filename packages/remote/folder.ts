/** A folder, perhaps on a network filesystem. */
import { createReadStream } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf, replaceFile } from '@nodeos/base';
import type { Store } from './store.js';

export const folder = (path: string): Store => ({
  name: path,
  async get(name) {
    try {
      // Opened here, so that a file that is not there is known at once.
      const handle = await open(join(path, name));
      return createReadStream('', { fd: handle, highWaterMark: 1 << 20 });
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
      throw error;
    }
  },
  async put(name, { open: content }, signal) {
    const to = join(path, name);
    await mkdir(dirname(to), { recursive: true });
    await replaceFile(to, (temporary) => writeFile(temporary, content(), { signal }));
  },
});
