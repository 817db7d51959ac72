/**
 * The cache of outputs, on disk:
 *
 *     steps/NAME/TARGET/KEY/{manifest.json,output/}   finished outputs; a folder appears here by one rename
 *     tmp/NAME-KEY-XXXXXX/                            outputs in the making
 *     sources/ALGORITHM-DIGEST                        fetched files
 *     locks/ logs/ apt/
 *
 * An output is used only if its files still have the sizes, modes and times that the manifest recorded; a file whose
 * time differs is hashed again. `verify` hashes everything.
 */
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf, NodeosError, storageAdvice } from './errors.js';
import { hashFile, listTree, type FileRecord } from './hash.js';
import type { Ingredients } from './key.js';
import type { Step } from './step.js';

const MANIFEST_VERSION = 1;

export interface Manifest {
  readonly manifest: typeof MANIFEST_VERSION;
  readonly name: string;
  readonly target: string;
  readonly key: string;
  readonly ingredients: Ingredients;
  readonly files: readonly FileRecord[];
  /** Seconds that the build took. */
  readonly seconds: number;
}

export interface Entry {
  readonly name: string;
  readonly target: string;
  readonly key: string;
  /** The entry's folder. */
  readonly path: string;
  /** The step's output folder. */
  readonly output: string;
}

export type Lookup =
  | { readonly state: 'present'; readonly entry: Entry; readonly manifest: Manifest }
  | { readonly state: 'absent' }
  | { readonly state: 'corrupt'; readonly entry: Entry; readonly reason: string };

export class Cache {
  constructor(readonly root: string = defaultRoot()) {}

  entry(step: Pick<Step, 'name' | 'target'>, key: string): Entry {
    return this.#entry(step.name, step.target.name, key);
  }

  lockPath(name: string): string {
    return join(this.root, 'locks', name);
  }

  logPath(step: Pick<Step, 'name' | 'target'>, key: string): string {
    return join(this.root, 'logs', `${step.name}-${step.target.name}-${key.slice(0, 12)}.log`);
  }

  /** Makes a folder of the cache. @throws NodeosError with advice if it cannot be written. */
  async ensure(...names: string[]): Promise<string> {
    const path = join(this.root, ...names);
    return this.#writing(path, async () => {
      await mkdir(path, { recursive: true });
      return path;
    });
  }

  /** Whether a finished, undamaged output with this key exists. Cheap: reads no content unless a time differs. */
  async lookup(entry: Entry): Promise<Lookup> {
    const manifest = await readManifest(entry);
    if (manifest === undefined) return { state: 'absent' };
    if (typeof manifest === 'string') return { state: 'corrupt', entry, reason: manifest };
    const reason = await firstDamage(entry, manifest, 'changed');
    return reason === undefined ? { state: 'present', entry, manifest } : { state: 'corrupt', entry, reason };
  }

  /** Notes that an output was used, for `prune`. A read-only cache has no such notes. */
  async touch(entry: Entry): Promise<void> {
    const now = new Date();
    await utimes(join(entry.path, 'manifest.json'), now, now).catch(() => undefined);
  }

  /** A temporary folder for a step. The caller holds the step's lock, so whatever an earlier attempt left goes. */
  async begin(entry: Entry): Promise<string> {
    const tmp = await this.ensure('tmp');
    const prefix = `${entry.name}-${entry.key.slice(0, 16)}-`;
    for (const name of await readdir(tmp)) {
      if (name.startsWith(prefix)) await remove(join(tmp, name));
    }
    return this.#writing(tmp, () => mkdtemp(join(tmp, prefix)));
  }

  /** Makes `dir/output` the output of the step, with its manifest, by one rename. */
  async commit(
    entry: Entry,
    dir: string,
    made: { readonly ingredients: Ingredients; readonly seconds: number },
  ): Promise<Manifest> {
    const manifest: Manifest = {
      manifest: MANIFEST_VERSION,
      name: entry.name,
      target: entry.target,
      key: entry.key,
      ingredients: made.ingredients,
      files: await listTree(join(dir, 'output')),
      seconds: Math.round(made.seconds * 1000) / 1000,
    };
    await this.#writing(entry.path, async () => {
      await writeFile(join(dir, 'manifest.json'), JSON.stringify(manifest, null, 1));
      await mkdir(join(entry.path, '..'), { recursive: true });
      await remove(entry.path); // a damaged one, or nothing
      await rename(dir, entry.path);
    });
    return manifest;
  }

  /** Every finished output, whatever its state. */
  async entries(): Promise<Entry[]> {
    const found: Entry[] = [];
    for (const name of await names(join(this.root, 'steps'))) {
      for (const target of await names(join(this.root, 'steps', name))) {
        for (const key of await names(join(this.root, 'steps', name, target))) {
          found.push(this.#entry(name, target, key));
        }
      }
    }
    return found;
  }

  /** The output of this step that was used last: what `--explain` compares with. */
  async latest(step: Pick<Step, 'name' | 'target'>): Promise<Manifest | undefined> {
    let best: { manifest: Manifest; time: number } | undefined;
    for (const key of await names(join(this.root, 'steps', step.name, step.target.name))) {
      const entry = this.entry(step, key);
      const manifest = await readManifest(entry);
      if (manifest === undefined || typeof manifest === 'string') continue;
      const { mtimeMs: time } = await stat(join(entry.path, 'manifest.json'));
      if (!best || time > best.time) best = { manifest, time };
    }
    return best?.manifest;
  }

  /** Hashes every file of an output. @returns what is wrong, or undefined. */
  async verify(entry: Entry): Promise<string | undefined> {
    const manifest = await readManifest(entry);
    if (manifest === undefined) return 'it has no manifest';
    return typeof manifest === 'string' ? manifest : firstDamage(entry, manifest, 'all');
  }

  #entry(name: string, target: string, key: string): Entry {
    const path = join(this.root, 'steps', name, target, key);
    return { name, target, key, path, output: join(path, 'output') };
  }

  async #writing<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const hint = storageAdvice(error);
      if (hint === undefined) throw error;
      throw new NodeosError(`cannot write to the cache at ${path}: ${codeOf(error) ?? ''}`, { hint, cause: error });
    }
  }
}

/** `$NODEOS_CACHE`, else `$XDG_CACHE_HOME/nodeos`, else `~/.cache/nodeos`. */
export function defaultRoot(): string {
  const { NODEOS_CACHE, XDG_CACHE_HOME } = process.env;
  return NODEOS_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'nodeos');
}

/** Removes a path and what is below it, read-only folders included. */
export async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}

/** @returns the manifest; why it cannot be used; or undefined if there is no such entry. */
async function readManifest(entry: Entry): Promise<Manifest | string | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(entry.path, 'manifest.json'), 'utf8')) as Manifest;
    if (manifest.manifest !== MANIFEST_VERSION || !Array.isArray(manifest.files)) return 'its manifest is of another kind';
    return manifest.key === entry.key ? manifest : 'its manifest is of another key';
  } catch (error) {
    if (error instanceof SyntaxError) return `its manifest is damaged: ${error.message}`;
    if (codeOf(error) !== 'ENOENT') throw error;
    return (await stat(entry.path).catch(() => undefined)) ? 'its manifest is missing' : undefined;
  }
}

async function firstDamage(entry: Entry, manifest: Manifest, hash: 'changed' | 'all'): Promise<string | undefined> {
  for (const record of manifest.files) {
    const path = join(entry.output, record.path);
    const now = await lstat(path).catch(() => undefined);
    if (now === undefined) return `${record.path} is missing`;
    if (record.type !== 'file') continue;
    if (now.size !== record.size) return `${record.path} has ${now.size} bytes instead of ${record.size}`;
    if (hash === 'changed' && Math.floor(now.mtimeMs) === record.mtime) continue;
    if ((await hashFile(path)) !== record.sha256) return `the content of ${record.path} has changed`;
  }
  return undefined;
}

async function names(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
