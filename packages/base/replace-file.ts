/** Replaces files atomically: after a crash, the path holds either the old content or all of the new content. */
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory } from './sync-directory.js';
import { ownedFolder } from './temporary-folder.js';

/**
 * Calls `write` to make a file, syncs the file to disk, then renames it to `path`. `write` works in a folder next to
 * `path` (`folderBeside`).
 */
export async function replaceFile(path: string, write: (path: string) => Promise<unknown>): Promise<void> {
  const folder = await folderBeside(path);
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

/**
 * Makes a folder next to `path` for what will be renamed to it. It has a random name and only this user can enter it, so
 * nobody can plant a link there. What killed processes have left for the same path is removed.
 */
export function folderBeside(path: string): Promise<string> {
  // The folder's name must not exceed the filesystem's limit of 255 bytes: 50 characters are at most 200.
  const name = Array.from(basename(path)).slice(0, 50).join('');
  return ownedFolder(dirname(path), `.${name}.`);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
