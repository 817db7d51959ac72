/**
 * A folder of this machine as a tree: sorted, with fixed owners and times, so that equal contents make equal archives.
 */
import { createReadStream, lstatSync, readdirSync, readlinkSync, statSync, type Stats } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { join } from 'node:path';
import { directory, symlink, type Entry, type Tree } from './entry.js';
import { compareNames, hasForeignBytes, pathBytes, pathOf } from './names.js';

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
  /** Modes and times are those of the files. Default false: fixed ones. */
  readonly keepsAttributes?: boolean;
}

/** Time that a scan takes for itself, in milliseconds. */
const TURN_MS = 10;

/** @throws Error for sockets, devices and pipes, which are meaningless in an image; the errors of reading the folder */
export async function* fromDirectory(folder: string, options: DirectoryOptions = {}): Tree {
  const { prefix = '', filter = () => true, hardLinks = false, keepsAttributes = false } = options;
  const start = prefix === '' ? '' : `${prefix}/`;
  const root = join(folder, './');
  const earlier = new Map<string, string>();
  if (prefix !== '') yield entryOf(root, prefix, statSync(root), keepsAttributes);
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
    const entry = entryOf(full, start + path, stat, keepsAttributes);
    const isShared = hardLinks && stat.nlink > 1 && entry.type !== 'directory';
    const key = isShared ? `${stat.dev} ${stat.ino}` : '';
    const hardLink = earlier.get(key);
    yield hardLink === undefined ? entry : { ...entry, hardLink };
    if (entry.type === 'directory') pending.push(...pathsIn(root, path));
    else if (isShared && hardLink === undefined) earlier.set(key, entry.path);
  }
}

/** One file, or a link, or a folder without what is in it. @param path in the tree. @throws as `fromDirectory` */
export const fromFile = (
  file: string,
  path: string,
  { keepsAttributes = false }: Pick<DirectoryOptions, 'keepsAttributes'> = {},
): Entry => entryOf(file, path, lstatSync(file), keepsAttributes);

/** The paths in a folder, the last one first. */
function pathsIn(root: string, folder: string): string[] {
  const start = folder === '' ? '' : `${folder}/`;
  return namesIn(hostPath(root, folder))
    .sort((a, b) => compareNames(b, a))
    .map((name) => start + name);
}

/** Bytes of a name that are no UTF-8 become U+FFFD in a string. A folder with such names is read again as bytes. */
function namesIn(folder: string | Buffer): string[] {
  const names = readdirSync(folder, 'utf8');
  if (!names.some((name) => name.includes('\ufffd'))) return names;
  return readdirSync(folder, 'buffer').map(pathOf);
}

/** Node.js takes a name that is no UTF-8 as bytes only. @param root with a slash at its end */
const hostPath = (root: string, path: string): string | Buffer =>
  hasForeignBytes(path) ? Buffer.concat([Buffer.from(root), pathBytes(path)]) : root + path;

/** Modes depend on the umask of whoever made a file, so of fixed ones only the executable bit is kept. */
function entryOf(full: string | Buffer, path: string, stat: Stats, keepsAttributes: boolean): Entry {
  const entry = fixedEntryOf(full, path, stat);
  if (!keepsAttributes) return entry;
  const mtime = Math.floor(stat.mtimeMs / 1000);
  const nanoseconds = Math.min(999_999_999, Math.round((stat.mtimeMs - mtime * 1000) * 1e6));
  return { ...entry, mode: stat.mode & 0o7777, mtime, nanoseconds };
}

function fixedEntryOf(full: string | Buffer, path: string, stat: Stats): Entry {
  if (stat.isDirectory()) return directory(path);
  if (stat.isSymbolicLink()) return symlink(path, pathOf(readlinkSync(full, { encoding: 'buffer' })));
  if (!stat.isFile()) throw new Error(`${full.toString()}: sockets, devices and pipes cannot go into an image`);
  return {
    path,
    type: 'file',
    mode: (stat.mode & 0o111) === 0 ? 0o644 : 0o755,
    uid: 0,
    gid: 0,
    mtime: 0,
    size: stat.size,
    host: typeof full === 'string' ? { file: full, mtime: stat.mtimeMs } : undefined,
    open: (offset = 0) => createReadStream(full, { start: offset, highWaterMark: 1 << 20 }),
  };
}
