/** Replaces files atomically: after a crash, the path holds either the old content or all of the new content. */
import { mkdtemp, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory } from './sync-directory.js';

/**
 * Calls `write` to make a file, syncs the file to disk, then renames it to `path`. `write` works in a folder next to
 * `path`. That folder has a random name and only this user can enter it, so nobody can plant a link there.
 */
export async function replaceFile(path: string, write: (path: string) => Promise<unknown>): Promise<void> {
  // The folder's name must not exceed the filesystem's limit: 50 characters are at most 200 bytes.
  const name = Array.from(basename(path)).slice(0, 50).join('');
  const folder = await mkdtemp(join(dirname(path), `.${name}.`));
  try {
    const temporary = join(folder, 'file');
    await write(temporary);
    await sync(temporary);
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
