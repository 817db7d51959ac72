/**
 * A folder of this machine as a tree: sorted, with fixed owners and times, so that equal contents make equal archives.
 */
import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry, Tree } from './entry.js';
import { pathBytes, pathOf } from './names.js';

export interface DirectoryOptions {
  /**
   * Path of the folder's contents in the tree. It becomes an entry too, unless it is empty (the root). Default: empty.
   */
  readonly prefix?: string;
  /** Selects paths, relative to the folder. Default: all. */
  readonly filter?: (path: string) => boolean;
  /**
   * Say which files are the same one (`hardLink`). Default false: whether two files with equal contents are one depends
   * on the machine.
   */
  readonly hardLinks?: boolean;
}

/** @throws Error for sockets, devices and pipes, which are meaningless in an image; the errors of reading the folder */
export async function* fromDirectory(root: string, options: DirectoryOptions = {}): Tree {
  const { prefix = '', filter = () => true, hardLinks = false } = options;
  const place = (path: string): string => [prefix, path].filter((part) => part !== '').join('/');
  const earlier = new Map<string, string>();
  if (prefix !== '') yield { path: prefix, type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 };
  const pending = await pathsIn(root, '');
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (!filter(path)) continue;
    const full = hostPath(root, path);
    const stat = await lstat(full);
    const entry = await entryOf(full, place(path), stat);
    const key = `${stat.dev} ${stat.ino}`;
    const hardLink = hardLinks && stat.nlink > 1 && !stat.isDirectory() ? earlier.get(key) : undefined;
    yield hardLink === undefined ? entry : { ...entry, hardLink };
    if (stat.isDirectory()) pending.push(...(await pathsIn(root, path)));
    else if (hardLinks && !earlier.has(key)) earlier.set(key, entry.path);
  }
}

/** The paths in a folder, the last one first. */
async function pathsIn(root: string, folder: string): Promise<string[]> {
  const names = await readdir(hostPath(root, folder), { encoding: 'buffer' });
  return names
    .sort((a, b) => Buffer.compare(b, a))
    .map((name) => (folder === '' ? pathOf(name) : `${folder}/${pathOf(name)}`));
}

/** Node.js takes a name that is no UTF-8 as bytes only. */
function hostPath(root: string, path: string): string | Buffer {
  const bytes = pathBytes(path);
  return bytes.toString() === path ? join(root, path) : Buffer.concat([Buffer.from(`${root}/`), bytes]);
}

/** Modes depend on the umask of whoever made a file, so only the executable bit is kept. */
async function entryOf(full: string | Buffer, path: string, stat: Stats): Promise<Entry> {
  const common = { path, uid: 0, gid: 0, mtime: 0 };
  if (stat.isDirectory()) return { ...common, type: 'directory', mode: 0o755, size: 0 };
  if (stat.isSymbolicLink()) {
    const link = pathOf(await readlink(full, { encoding: 'buffer' }));
    return { ...common, type: 'symlink', mode: 0o777, size: 0, link };
  }
  if (!stat.isFile()) throw new Error(`${full.toString()}: sockets, devices and pipes cannot go into an image`);
  const mode = (stat.mode & 0o111) === 0 ? 0o644 : 0o755;
  return {
    ...common,
    type: 'file',
    mode,
    size: stat.size,
    ...(typeof full === 'string' && { host: { file: full, mtime: stat.mtimeMs } }),
    open: (offset = 0) => createReadStream(full, { start: offset, highWaterMark: 1 << 20 }),
  };
}
