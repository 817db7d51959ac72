/**
 * A folder of this machine as a tree: sorted, with fixed owners and times, so that equal contents make equal archives.
 */
import { createReadStream, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
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

/** Time that a scan takes for itself, in milliseconds. */
const TURN_MS = 10;

/** @throws Error for sockets, devices and pipes, which are meaningless in an image; the errors of reading the folder */
export async function* fromDirectory(root: string, options: DirectoryOptions = {}): Tree {
  const { prefix = '', filter = () => true, hardLinks = false } = options;
  const place = (path: string): string => [prefix, path].filter((part) => part !== '').join('/');
  const earlier = new Map<string, string>();
  if (prefix !== '') yield { path: prefix, type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 };
  const pending = pathsIn(root, '');
  let turned = performance.now();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (!filter(path)) continue;
    // A promise for each file would take ten times as long as the file. Others get their turn now and then.
    if (performance.now() - turned > TURN_MS) {
      await turn();
      turned = performance.now();
    }
    const full = hostPath(root, path);
    const stat = lstatSync(full);
    const entry = entryOf(full, place(path), stat);
    const key = `${stat.dev} ${stat.ino}`;
    const hardLink = hardLinks && stat.nlink > 1 && !stat.isDirectory() ? earlier.get(key) : undefined;
    yield hardLink === undefined ? entry : { ...entry, hardLink };
    if (stat.isDirectory()) pending.push(...pathsIn(root, path));
    else if (hardLinks && !earlier.has(key)) earlier.set(key, entry.path);
  }
}

/** The paths in a folder, the last one first. */
function pathsIn(root: string, folder: string): string[] {
  const names = readdirSync(hostPath(root, folder), { encoding: 'buffer' });
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
function entryOf(full: string | Buffer, path: string, stat: Stats): Entry {
  const common = { path, uid: 0, gid: 0, mtime: 0 };
  if (stat.isDirectory()) return { ...common, type: 'directory', mode: 0o755, size: 0 };
  if (stat.isSymbolicLink()) {
    const link = pathOf(readlinkSync(full, { encoding: 'buffer' }));
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
