/** Frees space in the cache. */
import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkCacheFolder, listOwned, removeEmpty, type Skipped, type Part } from './cache-folder.js';
import { lockName, remove, sourceLockName, type Cache, type Entry } from './cache.js';
import { isLocked, withLock } from './lock.js';

export interface PruneOptions {
  /** Number of most recently used outputs to keep for each step and target. */
  readonly keepPerStep: number;
  /** Also remove fetched sources. A later build has to fetch them again. */
  readonly sources: boolean;
  /** Only report what would be removed. */
  readonly dryRun: boolean;
}

export interface Pruned {
  readonly path: string;
  readonly bytes: number;
}

export interface PruneResult {
  readonly removed: readonly Pruned[];
  /** Paths in the cache's folders that do not belong to the cache. */
  readonly skipped: readonly Skipped[];
}

export interface Usage {
  readonly entry: Entry;
  readonly bytes: number;
  /** When the output was last built or used. */
  readonly used: Date;
}

/** The outputs in the cache, most recently used first. */
export async function usageOf(cache: Cache): Promise<Usage[]> {
  const list = await Promise.all(
    (await cache.entries()).map(async (entry) => {
      const manifest = await stat(join(entry.path, 'manifest.json')).catch(() => undefined);
      return { entry, bytes: await sizeOf(entry.path), used: manifest?.mtime ?? new Date(0) };
    }),
  );
  return list.sort((a, b) => b.used.getTime() - a.used.getTime());
}

/**
 * Removes outputs that were not used lately and leftovers of interrupted builds; sources too if asked.
 * @throws NodeosError if the folder is not known to be a cache
 */
export async function prune(cache: Cache, { keepPerStep, sources, dryRun }: PruneOptions): Promise<PruneResult> {
  await checkCacheFolder(cache.root);
  const removed: Pruned[] = [];
  const drop = async (path: string, bytes: number, lock?: string): Promise<void> => {
    if (!dryRun) {
      if (lock === undefined) await remove(path);
      else await withLock(cache.lockPath(lock), {}, () => remove(path));
    }
    removed.push({ path, bytes });
  };
  for (const { entry, bytes } of surplus(await usageOf(cache), keepPerStep))
    await drop(entry.path, bytes, lockName(entry));
  // List the folders before checking the locks: then a listed folder belongs to a lock held at that time or earlier.
  const temporary = await listOwned(cache.root, 'tmp');
  for (const { path, names } of temporary.owned)
    if (!(await isLocked(cache.lockPath(lockOf(names))))) await drop(path, await sizeOf(path));
  const fetched = sources ? await listOwned(cache.root, 'sources') : NOTHING;
  for (const { path, names } of fetched.owned) {
    const digest = /^sha\d+-([0-9a-f]+)/.exec(names[0] ?? '')?.[1] ?? '';
    await drop(path, await sizeOf(path), sourceLockName(digest));
  }
  const { skipped } = await listOwned(cache.root, 'steps');
  return { removed, skipped: [...skipped, ...temporary.skipped, ...fetched.skipped] };
}

const NOTHING = { owned: [], skipped: [] };

/** All outputs beyond the first `keepPerStep` of each step and target. */
function surplus(list: readonly Usage[], keepPerStep: number): Usage[] {
  const seen = new Map<string, number>();
  return list.filter(({ entry }) => {
    const id = `${entry.name} ${entry.target}`;
    const rank = seen.get(id) ?? 0;
    seen.set(id, rank + 1);
    return rank >= keepPerStep;
  });
}

/** The lock of a temporary folder. The folder is named after the lock of the process that fills it. */
const lockOf = ([name = '']: readonly string[]): string => name.replace(/-[^-]*$/, '');

/** Removes an output. The lock is needed because another process may be rebuilding it. */
export const removeEntry = (cache: Cache, entry: Entry): Promise<void> =>
  withLock(cache.lockPath(lockName(entry)), {}, () => remove(entry.path));

const BUILT: readonly Part[] = ['steps', 'tmp', 'logs'];
const FETCHED: readonly Part[] = ['sources', 'apt', 'locks', 'images'];

/**
 * Removes everything that was built; with `all`, everything in the cache.
 * @returns the paths that stay
 * @throws NodeosError if the folder is not known to be a cache
 */
export async function clean(cache: Cache, { all }: { readonly all: boolean }): Promise<Skipped[]> {
  await checkCacheFolder(cache.root);
  const skipped: Skipped[] = [];
  for (const part of all ? [...BUILT, ...FETCHED] : BUILT) {
    const list = await listOwned(cache.root, part);
    for (const { path } of list.owned) await remove(path);
    await removeEmpty(list.folders);
    skipped.push(...list.skipped);
  }
  const notes = all ? ['accelerator.json', 'node-versions.json'] : [];
  for (const name of notes) await rm(join(cache.root, name), { force: true });
  return skipped;
}

/** Size in bytes of a file, or of all files in a folder. Symbolic links are not followed. */
async function sizeOf(path: string): Promise<number> {
  const info = await lstat(path).catch(() => undefined);
  if (!info?.isDirectory()) return info?.size ?? 0;
  const names = await readdir(path).catch(() => [] as string[]); // the folder may be removed meanwhile
  const sizes = await Promise.all(names.map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
