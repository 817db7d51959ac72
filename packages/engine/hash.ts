/** SHA-256 of values, files and folders. The result is the same on every machine. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sha256 } from '@nodeos/base';

/** Feeds a file into a hash without holding it in memory. */
export async function hashInto(hash: Hash, path: string): Promise<void> {
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { end: false });
}

export async function hashFile(path: string, algorithm = 'sha256'): Promise<string> {
  const hash = createHash(algorithm);
  await hashInto(hash, path);
  return hash.digest('hex');
}

/** Bytes of a file that is read at once. */
const SMALL = 1 << 20;

/** Small files are read without promises and streams, which cost more than the file. */
const hashOf = (path: string, size: number): Promise<string> | string =>
  size <= SMALL ? sha256(readFileSync(path)) : hashFile(path);

export interface FileRecord {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Permission bits. */
  readonly mode: number;
  /** Size in bytes; 0 for anything but a file. */
  readonly size: number;
  /** Hash of a file's content or of a symbolic link's target. */
  readonly sha256?: string;
  /**
   * Milliseconds since the epoch. Used only on the machine that wrote it, to notice a change without reading the file.
   */
  readonly mtime: number;
}

/**
 * Lists a folder recursively, with a hash of each file unless `hashed` is false. A folder comes before its contents;
 * names are sorted.
 * @throws Error for a special file
 */
export async function listTree(root: string, hashed = true): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  async function visit(relative: string): Promise<void> {
    const names = readdirSync(join(root, relative));
    for (const name of names.sort()) {
      const path = relative === '' ? name : `${relative}/${name}`;
      const full = join(root, path);
      const info = lstatSync(full);
      const common = { path, mode: info.mode & 0o7777, mtime: Math.floor(info.mtimeMs) };
      if (info.isDirectory()) {
        records.push({ ...common, type: 'directory', size: 0 });
        await visit(path);
      } else if (info.isSymbolicLink()) {
        const link = readlinkSync(full);
        records.push({ ...common, mode: 0o777, type: 'symlink', size: 0, sha256: sha256(link) });
      } else if (info.isFile()) {
        const content = hashed ? { sha256: await hashOf(full, info.size) } : {};
        records.push({ ...common, type: 'file', size: info.size, ...content });
      } else {
        throw new Error(`${full}: neither a file, a folder nor a symbolic link`);
      }
    }
  }
  await visit('');
  return records;
}

/**
 * One hash for a file, or for everything in a folder. It covers names, contents and executable bits, but not times or
 * owners. A symbolic link at `path` itself is followed; links below it are not.
 */
export async function hashPath(path: string): Promise<string> {
  const info = await stat(path);
  if (!info.isDirectory()) {
    const content = await hashOf(path, info.size);
    return info.mode & 0o111 ? sha256(`executable ${content}`) : content;
  }
  const hash = createHash('sha256');
  for (const record of await listTree(path)) {
    hash.update(JSON.stringify([record.path, record.type, record.mode & 0o111 ? 'x' : '-', record.sha256 ?? '']));
  }
  return hash.digest('hex');
}

/**
 * JSON with sorted keys, so that equal values give equal strings. Undefined becomes null.
 * @throws TypeError for values that JSON would drop (a function, a symbol, a Map, a Set): a key must not miss a
 * difference
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value ?? null, (_key, item: unknown) => {
    if (typeof item === 'function' || typeof item === 'symbol' || item instanceof Map || item instanceof Set) {
      throw new TypeError(`a ${typeof item === 'object' ? item.constructor.name : typeof item} has no JSON form`);
    }
    if (item === null || typeof item !== 'object' || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
