/** Frees space in the cache. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { remove, type Cache, type Entry } from './cache.js';
import { withLock } from './lock.js';

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
  const drop = async (path: string, bytes: number): Promise<void> => {
    if (!dryRun) await remove(path);
    gone.push({ path, bytes });
  };
  const kept = new Map<string, number>();
  for (const { entry, bytes } of await usageOf(cache)) {
    const id = `${entry.name} ${entry.target}`;
    const rank = kept.get(id) ?? 0;
    kept.set(id, rank + 1);
    if (rank < keep) continue;
    const lock = cache.lockPath(`${entry.name}-${entry.key.slice(0, 32)}`);
    await withLock(lock, {}, () => drop(entry.path, bytes));
  }
  for (const path of await abandoned(cache)) await drop(path, await sizeOf(path));
  if (sources) {
    for (const name of await readdir(join(cache.root, 'sources')).catch(() => [] as string[])) {
      const path = join(cache.root, 'sources', name);
      await drop(path, await sizeOf(path));
    }
  }
  return gone;
}

/** A running build touches its folder all the time; one of a killed build stays as it was. */
const ABANDONED_MS = 24 * 3600 * 1000;

async function abandoned(cache: Cache): Promise<string[]> {
  const tmp = join(cache.root, 'tmp');
  const paths = (await readdir(tmp).catch(() => [] as string[])).map((name) => join(tmp, name));
  const old = await Promise.all(paths.map(async (path) => Date.now() - (await stat(path)).mtimeMs > ABANDONED_MS));
  return paths.filter((_, index) => old[index]);
}

async function sizeOf(path: string): Promise<number> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isDirectory()) return info?.size ?? 0;
  const names = await readdir(path);
  const sizes = await Promise.all(names.map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
