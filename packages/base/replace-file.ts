/** Replaces files: there is what was there before, or all of what is new, whatever happens meanwhile. */
import { mkdtemp, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory } from './sync-directory.js';

/**
 * Has `write` make a file, and gives it the name `path` when it is on the disk. It is made in a folder beside, of a
 * random name, which only this user can enter: nobody can put a link in its way.
 */
export async function replaceFile(path: string, write: (path: string) => Promise<unknown>): Promise<void> {
  // A part of the name, of which all may be as long as names can be: 50 characters have 200 bytes at most.
  const name = Array.from(basename(path)).slice(0, 50).join('');
  const folder = await mkdtemp(join(dirname(path), `.${name}.`));
  try {
    const made = join(folder, 'file');
    await write(made);
    await sync(made);
    await rename(made, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
