/**
 * The cache of outputs, on disk:
 *
 *     steps/NAME/TARGET/KEY/{manifest.json,output/}   finished outputs; each entry appears by one rename
 *     tmp/LOCK-XXXXXX/                                unfinished outputs, named after the lock that guards them
 *     sources/ALGORITHM-DIGEST                        fetched files
 *     locks/ logs/ apt/
 *
 * cache-folder.ts knows which names belong to the cache.
 *
 * A lookup compares the files' sizes, modes and times with the manifest. It hashes only files whose time differs.
 * `verify` hashes everything.
 */
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { listOwned, makeCacheFolder } from './cache-folder.js';
import { firstDamage } from './damage.js';
import { cacheRoot, codeOf, messageOf, NodeosError, sha256 } from '@nodeos/base';
import { canonicalJson, listTree, type FileRecord } from './hash.js';
import type { Ingredients } from './key.js';
import type { Step } from './step.js';
import { storageAdvice } from './storage-advice.js';

const MANIFEST_VERSION = 1;

export interface Manifest {
  readonly manifest: typeof MANIFEST_VERSION;
  readonly name: string;
  readonly target: string;
  readonly key: string;
  readonly ingredients: Ingredients;
  readonly files: readonly FileRecord[];
  /** Duration of the build in seconds. */
  readonly seconds: number;
  /** SHA-256 of all the rest. Older manifests have none. */
  readonly digest?: string;
}

export interface Entry {
  readonly name: string;
  readonly target: string;
  readonly key: string;
  /** The cache entry's folder. */
  readonly path: string;
  /** The step's output folder. */
  readonly output: string;
}

export type Lookup =
  | { readonly state: 'present'; readonly entry: Entry; readonly manifest: Manifest }
  | { readonly state: 'absent' }
  | { readonly state: 'corrupt'; readonly entry: Entry; readonly reason: string };

export class Cache {
  /** An absolute path. */
  readonly root: string;
  #created: Promise<void> | undefined;

  constructor(root: string = cacheRoot()) {
    this.root = resolve(root); // tools run in other folders than this process
  }

  entry(step: Pick<Step, 'name' | 'target'>, key: string): Entry {
    return this.#entry(step.name, step.target.name, key);
  }

  lockPath(name: string): string {
    return join(this.root, 'locks', name);
  }

  logPath(step: Pick<Step, 'name' | 'target'>, key: string): string {
    return join(this.root, 'logs', `${step.name}-${step.target.name}-${key.slice(0, 12)}.log`);
  }

  /** Creates a folder of the cache. @throws NodeosError with advice if it cannot be written */
  async ensure(...names: string[]): Promise<string> {
    const path = join(this.root, ...names);
    return this.#writing(path, async () => {
      await (this.#created ??= makeCacheFolder(this.root));
      await mkdir(path, { recursive: true });
      return path;
    });
  }

  /** Looks for a finished, undamaged output with this key. Cheap: reads a file only if its time differs. */
  async lookup(entry: Entry): Promise<Lookup> {
    const manifest = await readManifest(entry);
    if (manifest === undefined) return { state: 'absent' };
    if (typeof manifest === 'string') return { state: 'corrupt', entry, reason: manifest };
    const reason = await firstDamage(entry.output, manifest.files, 'changed');
    return reason === undefined ? { state: 'present', entry, manifest } : { state: 'corrupt', entry, reason };
  }

  /** Records that an output was used, for `prune`. A read-only cache cannot record it. */
  async touch(entry: Entry): Promise<void> {
    const now = new Date();
    await utimes(join(entry.path, 'manifest.json'), now, now).catch(() => undefined);
  }

  /**
   * Creates a step's temporary folder. The caller holds the step's lock, so leftovers of earlier attempts are removed.
   */
  async begin(entry: Entry): Promise<string> {
    const tmp = await this.ensure('tmp');
    const prefix = `${lockName(entry)}-`;
    for (const { path, names } of (await listOwned(this.root, 'tmp')).owned)
      if (names[0]?.startsWith(prefix)) await remove(path);
    return this.#writing(tmp, () => mkdtemp(join(tmp, prefix)));
  }

  /** Publishes `dir/output` as the step's output, with its manifest, by one rename. */
  async commit(
    entry: Entry,
    dir: string,
    result: { readonly ingredients: Ingredients; readonly seconds: number },
  ): Promise<Manifest> {
    const unsealed: Manifest = {
      manifest: MANIFEST_VERSION,
      name: entry.name,
      target: entry.target,
      key: entry.key,
      ingredients: result.ingredients,
      files: await listTree(join(dir, 'output')),
      seconds: Math.round(result.seconds * 1000) / 1000,
    };
    const manifest: Manifest = { ...unsealed, digest: sha256(canonicalJson(unsealed)) };
    await this.#writing(entry.path, async () => {
      await writeFile(join(dir, 'manifest.json'), JSON.stringify(manifest, null, 1));
      await mkdir(join(entry.path, '..'), { recursive: true });
      await remove(entry.path); // a damaged entry, or nothing
      await rename(dir, entry.path);
    });
    return manifest;
  }

  /** Every finished output, intact or not. */
  async entries(): Promise<Entry[]> {
    const { owned } = await listOwned(this.root, 'steps');
    return owned.map(({ names: [name = '', target = '', key = ''] }) => this.#entry(name, target, key));
  }

  /** The manifest of this step's most recently used output. `--explain` compares with it. */
  async latest(step: Pick<Step, 'name' | 'target'>): Promise<Manifest | undefined> {
    const candidates: { entry: Entry; time: number }[] = [];
    for (const key of await listNames(join(this.root, 'steps', step.name, step.target.name))) {
      const entry = this.entry(step, key);
      const info = await stat(join(entry.path, 'manifest.json')).catch(() => undefined);
      if (info) candidates.push({ entry, time: info.mtimeMs });
    }
    for (const { entry } of candidates.sort((a, b) => b.time - a.time)) {
      const manifest = await readManifest(entry);
      if (typeof manifest === 'object') return manifest;
    }
    return undefined;
  }

  /** Hashes every file of an output. @returns the first damage found, or undefined */
  async verify(entry: Entry): Promise<string | undefined> {
    const manifest = await readManifest(entry);
    if (manifest === undefined) return 'it has no manifest';
    if (typeof manifest === 'string') return manifest;
    const { digest, ...rest } = manifest;
    if (digest !== undefined && digest !== sha256(canonicalJson(rest))) return 'its manifest has changed';
    return firstDamage(entry.output, manifest.files, 'all');
  }

  /** Compares a folder with the files of an output, but for their times. @returns the first difference */
  async compare(entry: Entry, folder: string): Promise<string | undefined> {
    const manifest = await readManifest(entry);
    return typeof manifest === 'object' ? firstDamage(folder, manifest.files, 'all') : 'it has no manifest';
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

/** The lock that guards the making of an output. Temporary folders share its name, so only its holder removes them. */
export function lockName({ name, key }: Pick<Entry, 'name' | 'key'>): string {
  return `${name}-${key.slice(0, 32)}`;
}

/** The lock that guards the fetching of the file with this checksum. */
export function sourceLockName(digest: string): string {
  return `source-${digest.slice(0, 32)}`;
}

/** Removes a path with everything below it, including read-only folders. */
export async function remove(path: string): Promise<void> {
  const tryRemove = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3 });
  try {
    await tryRemove();
  } catch (error) {
    if (codeOf(error) !== 'EACCES' && codeOf(error) !== 'EPERM') throw error;
    await makeWritable(path);
    await tryRemove();
  }
}

/** Removing a file needs write access to its folder. Root always has it. */
async function makeWritable(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return;
  await chmod(path, 0o700);
  for (const name of await readdir(path)) await makeWritable(join(path, name));
}

/** @returns the manifest; a reason why it is unusable; undefined if the entry does not exist */
async function readManifest(entry: Entry): Promise<Manifest | string | undefined> {
  let text: string;
  try {
    text = await readFile(join(entry.path, 'manifest.json'), 'utf8');
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return `its manifest cannot be read: ${messageOf(error)}`;
    return (await stat(entry.path).catch(() => undefined)) ? 'its manifest is missing' : undefined;
  }
  try {
    const manifest: unknown = JSON.parse(text);
    if (!isManifest(manifest)) return 'its manifest is of another kind';
    return manifest.key === entry.key ? manifest : 'its manifest is of another key';
  } catch (error) {
    return `its manifest is damaged: ${messageOf(error)}`;
  }
}

function isManifest(value: unknown): value is Manifest {
  const { manifest, ingredients, files } = (value ?? {}) as Partial<Record<keyof Manifest, unknown>>;
  const isRecord = (item: unknown): boolean => typeof (item as Partial<FileRecord> | null)?.path === 'string';
  const isTable = typeof ingredients === 'object' && ingredients !== null;
  return manifest === MANIFEST_VERSION && isTable && Array.isArray(files) && files.every(isRecord);
}

async function listNames(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}
