/** Packs and signs outputs, and stores them in a remote cache. */
import type { KeyObject } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '@nodeos/base';
import type { Cache } from '../cache.js';
import type { PlannedStep } from '../plan.js';
import { packFiles, sharedFiles } from './contents.js';
import { PATIENCE, readManifest } from './guarded.js';
import { outputId } from './pull.js';
import type { RemoteCache } from './remote-cache.js';
import { nameOf, openManifest, sealManifest, UntrustedError } from './shared-manifest.js';

export interface PushOptions {
  readonly key: KeyObject;
  readonly signal: AbortSignal;
  /** Stores what is there already again. */
  readonly again?: boolean;
}

export interface Pushed {
  /** Bytes of the packed files; 0 if the cache had the output. */
  readonly bytes: number;
}

/**
 * Stores an output that is in the local cache.
 * @throws NodeosError if it is damaged; the errors of the remote cache
 */
export async function push(
  cache: Cache,
  item: PlannedStep,
  remote: RemoteCache,
  options: PushOptions,
): Promise<Pushed> {
  const { key, signal, again = false } = options;
  if (!remote.push) throw new Error(`${remote.name} is read-only`);
  const id = outputId(item);
  if (!again && (await isThere(remote, item, options))) return { bytes: 0 };
  const damage = await cache.verify(item.entry);
  if (damage !== undefined) throw new UntrustedError(`${item.step.name} is damaged: ${damage}`);
  const folder = await temporaryFolder('push');
  try {
    const path = join(folder, 'contents.br');
    const files = await sharedFiles(item.entry.output);
    const contents = await packFiles(item.entry.output, files, path, signal);
    const manifest = sealManifest({ ...id, seconds: item.seconds ?? 0, files, contents }, key);
    await remote.push(id, { manifest, contents: { path, ...contents } }, signal);
    return { bytes: contents.size };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether the cache has the output, signed by this key. */
async function isThere(remote: RemoteCache, item: PlannedStep, { key, signal }: PushOptions): Promise<boolean> {
  const stored = await readManifest(remote, outputId(item), signal, PATIENCE);
  if (!stored) return false;
  try {
    openManifest(stored, outputId(item), [nameOf(key)]);
    return true;
  } catch (error) {
    if (error instanceof UntrustedError) return false; // it is replaced
    throw error;
  }
}
