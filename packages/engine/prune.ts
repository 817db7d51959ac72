/** Frees space in the cache. */
import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkCacheFolder, listOwn, removeEmpty, type Left, type Part } from './cache-folder.js';
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

export interface PruneResult {
  readonly gone: readonly Pruned[];
  /** What is in the folders of the cache, and is not the cache's. */
  readonly left: readonly Left[];
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

/**
 * Removes outputs that were not used lately, what interrupted builds left, and, if asked to, sources.
 * @throws NodeosError if the folder is not known to be a cache
 */
export async function prune(cache: Cache, { keep, sources, dryRun }: PruneOptions): Promise<PruneResult> {
  await checkCacheFolder(cache.root);
  const gone: Pruned[] = [];
  const drop = async (path: string, bytes: number, lock?: string): Promise<void> => {
    if (!dryRun) {
      if (lock === undefined) await remove(path);
      else await withLock(cache.lockPath(lock), {}, () => remove(path));
    }
    gone.push({ path, bytes });
  };
  for (const { entry, bytes } of surplus(await usageOf(cache), keep)) await drop(entry.path, bytes, lockName(entry));
  // Listed before the locks are asked: a folder that is in the list belongs to who held its lock then, or earlier.
  const temporary = await listOwn(cache.root, 'tmp');
  for (const { path, names } of temporary.own)
    if (!(await isLocked(cache.lockPath(lockOf(names))))) await drop(path, await sizeOf(path));
  const fetched = sources ? await listOwn(cache.root, 'sources') : NOTHING;
  for (const { path, names } of fetched.own) {
    const digest = /^sha\d+-([0-9a-f]+)/.exec(names[0] ?? '')?.[1] ?? '';
    await drop(path, await sizeOf(path), sourceLockName(digest));
  }
  const { left } = await listOwn(cache.root, 'steps');
  return { gone, left: [...left, ...temporary.left, ...fetched.left] };
}

const NOTHING = { own: [], left: [] };

/** Of each step and target, what comes after the first so many. */
function surplus(list: readonly Usage[], keep: number): Usage[] {
  const seen = new Map<string, number>();
  return list.filter(({ entry }) => {
    const id = `${entry.name} ${entry.target}`;
    const rank = seen.get(id) ?? 0;
    seen.set(id, rank + 1);
    return rank >= keep;
  });
}

/** A temporary folder is named after the lock of who makes what is in it. */
const lockOf = ([name = '']: readonly string[]): string => name.replace(/-[^-]*$/, '');

/** Removes an output, which another process may be making anew. */
export const removeEntry = (cache: Cache, entry: Entry): Promise<void> =>
  withLock(cache.lockPath(lockName(entry)), {}, () => remove(entry.path));

const BUILT: readonly Part[] = ['steps', 'tmp', 'logs'];
const FETCHED: readonly Part[] = ['sources', 'apt', 'locks'];

/**
 * Removes everything that was built; with `all`, everything.
 * @returns what stays
 * @throws NodeosError if the folder is not known to be a cache
 */
export async function clean(cache: Cache, { all }: { readonly all: boolean }): Promise<Left[]> {
  await checkCacheFolder(cache.root);
  const left: Left[] = [];
  for (const part of all ? [...BUILT, ...FETCHED] : BUILT) {
    const list = await listOwn(cache.root, part);
    for (const { path } of list.own) await remove(path);
    await removeEmpty(list.folders);
    left.push(...list.left);
  }
  const notes = all ? ['accelerator.json', 'node-versions.json'] : [];
  for (const name of notes) await rm(join(cache.root, name), { force: true });
  return left;
}

/** The bytes of a file, or of the files in a folder; symbolic links are not followed. */
async function sizeOf(path: string): Promise<number> {
  const info = await lstat(path).catch(() => undefined);
  if (!info?.isDirectory()) return info?.size ?? 0;
  const names = await readdir(path).catch(() => [] as string[]); // gone, if it is being removed
  const sizes = await Promise.all(names.map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
