/**
 * A folder of this machine as a tree: sorted, with fixed owners and times, so that equal contents make equal archives.
 */
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry, Tree } from './entry.js';

export interface DirectoryOptions {
  /**
   * Path of the folder's contents in the tree. It becomes an entry too, unless it is empty (the root). Default: empty.
   */
  readonly prefix?: string;
  /** Selects paths, relative to the folder. Default: all. */
  readonly filter?: (path: string) => boolean;
}

/** @throws Error for sockets, devices and pipes, which are meaningless in an image */
export async function* fromDirectory(root: string, options: DirectoryOptions = {}): Tree {
  const { prefix = '', filter = () => true } = options;
  const place = (path: string): string => [prefix, path].filter((part) => part !== '').join('/');
  if (prefix !== '') yield { path: prefix, type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 };
  async function* visit(folder: string): Tree {
    for (const name of (await readdir(join(root, folder))).sort()) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (!filter(path)) continue;
      const entry = await entryOf(join(root, path), place(path));
      yield entry;
      if (entry.type === 'directory') yield* visit(path);
    }
  }
  yield* visit('');
}

/** Modes depend on the umask of whoever made a file, so only the executable bit is kept. */
async function entryOf(full: string, path: string): Promise<Entry> {
  const stat = await lstat(full);
  const common = { path, uid: 0, gid: 0, mtime: 0 };
  if (stat.isDirectory()) return { ...common, type: 'directory', mode: 0o755, size: 0 };
  if (stat.isSymbolicLink()) return { ...common, type: 'symlink', mode: 0o777, size: 0, link: await readlink(full) };
  if (!stat.isFile()) throw new Error(`${full}: sockets, devices and pipes cannot go into an image`);
  const mode = (stat.mode & 0o111) === 0 ? 0o644 : 0o755;
  return {
    ...common,
    type: 'file',
    mode,
    size: stat.size,
    host: { file: full, mtime: stat.mtimeMs },
    open: () => createReadStream(full, { highWaterMark: 1 << 20 }),
  };
}
