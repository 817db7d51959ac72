/** Frees space in the cache. */
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { lockName, remove, sourceLockName, type Cache, type Entry } from './cache.js';
import { isLocked, withLock } from './lock.js';

export interface PruneOptions {
  /** Outputs of each step and target to keep, the ones used last. */
  readonly keep: number;
  /** Also fetched sources, which a later build would have to fetch again. */
  readonly sources: boolean;
  /** Only say what would go. */
  readonly dryRun: boolean;
}

export interface Pruned {
  readonly path: string;
  readonly bytes: number;
}

export interface Usage {
  readonly entry: Entry;
  readonly bytes: number;
  /** When it was built or used last. */
  readonly used: Date;
}

/** What is in the cache, the last used first. */
export async function usageOf(cache: Cache): Promise<Usage[]> {
  const list = await Promise.all(
    (await cache.entries()).map(async (entry) => {
      const manifest = await stat(join(entry.path, 'manifest.json')).catch(() => undefined);
      return { entry, bytes: await sizeOf(entry.path), used: manifest?.mtime ?? new Date(0) };
    }),
  );
  return list.sort((a, b) => b.used.getTime() - a.used.getTime());
}

/** Removes outputs that were not used lately, what interrupted builds left, and, if asked to, sources. */
export async function prune(cache: Cache, { keep, sources, dryRun }: PruneOptions): Promise<Pruned[]> {
  const gone: Pruned[] = [];
  const drop = async (path: string, bytes: number, lock?: string): Promise<void> => {
    if (!dryRun) {
      if (lock === undefined) await remove(path);
      else await withLock(cache.lockPath(lock), {}, () => remove(path));
    }
    gone.push({ path, bytes });
  };
  const kept = new Map<string, number>();
  for (const { entry, bytes } of await usageOf(cache)) {
    const id = `${entry.name} ${entry.target}`;
    const rank = kept.get(id) ?? 0;
    kept.set(id, rank + 1);
    if (rank < keep) continue;
    await drop(entry.path, bytes, lockName(entry));
  }
  for (const path of await abandoned(cache)) await drop(path, await sizeOf(path));
  if (sources) {
    for (const name of await readdir(join(cache.root, 'sources')).catch(() => [] as string[])) {
      const path = join(cache.root, 'sources', name);
      const digest = /^sha\d+-([0-9a-f]+)/.exec(name)?.[1];
      await drop(path, await sizeOf(path), digest === undefined ? undefined : sourceLockName(digest));
    }
  }
  return gone;
}

/** Temporary folders whose lock, which they are named after, no process holds. */
async function abandoned(cache: Cache): Promise<string[]> {
  const tmp = join(cache.root, 'tmp');
  const paths: string[] = [];
  // Listed before the locks are asked: a folder that is in the list belongs to who held its lock then, or earlier.
  for (const name of await readdir(tmp).catch(() => [] as string[])) {
    const lock = cache.lockPath(name.replace(/-[^-]*$/, ''));
    if (!(await isLocked(lock))) paths.push(join(tmp, name));
  }
  return paths;
}

/** The bytes of a file, or of the files in a folder; symbolic links are not followed. */
async function sizeOf(path: string): Promise<number> {
  const info = await lstat(path).catch(() => undefined);
  if (!info?.isDirectory()) return info?.size ?? 0;
  const names = await readdir(path).catch(() => [] as string[]); // gone, if it is being removed
  const sizes = await Promise.all(names.map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
