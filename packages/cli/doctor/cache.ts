/** The cache on this host, and the caches of others. */
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { exists, formatSize, messageOf, parseSize } from '@nodeos/base';
import { Cache, checkCacheFolder, usageOf } from '@nodeos/engine';
import type { RemoteCache } from '@nodeos/engine';
import { buildingOf } from '../building.js';
import { sharingOf } from '../sharing.js';
import type { Check, Finding } from './finding.js';

/** More than a first build takes at its largest, when the sources and build folders of the compiler are there. In bytes. */
const FIRST_BUILD = parseSize('8G', 'disk');
/** More than a later build takes, in bytes. */
const LATER_BUILD = parseSize('1G', 'disk');
/** How long a remote cache may take to answer, in milliseconds. */
const PATIENCE_MS = 5000;
/** A key that no output has. */
const NO_OUTPUT = { step: 'doctor', target: 'x86_64', key: '0'.repeat(64) } as const;

export const cache: Check = async () => {
  const { root } = new Cache();
  const name = 'cache';
  try {
    await checkCacheFolder(root);
    if (await exists(root)) await access(root, constants.W_OK);
  } catch (error) {
    return [{ name, state: 'lacking', found: messageOf(error), remedy: 'NODEOS_CACHE=FOLDER names another folder' }];
  }
  const list = await usageOf(new Cache());
  const bytes = list.reduce((sum, usage) => sum + usage.bytes, 0);
  const found = list.length === 0 ? `empty: ${root}` : `${list.length} outputs, ${formatSize(bytes)}: ${root}`;
  return [{ name, state: 'ok', found }];
};

export const disk: Check = async () => {
  const cached = new Cache();
  const folder = await existing(cached.root);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const isFirst = !(await cached.entries()).some(({ name }) => name === 'toolchain');
  const wanted = isFirst ? FIRST_BUILD : LATER_BUILD;
  const found = `${formatSize(free)} free in ${folder}`;
  if (free >= wanted) return [{ name: 'disk', state: 'ok', found }];
  const remedy = isFirst ? 'NODEOS_CACHE=FOLDER names another folder' : 'nodeos cache prune';
  return [{ name: 'disk', state: 'note', found: `${found}; a build may take ${formatSize(wanted)}`, remedy }];
};

/** The folder, or the nearest one above it that is there. */
const existing = async (path: string): Promise<string> =>
  (await exists(path)) || path === dirname(path) ? path : existing(dirname(path));

/** A remote cache that is down is no failure: a build skips it. */
export const remotes: Check = async (settled, io) => {
  try {
    const sharing = await sharingOf(buildingOf(settled), io);
    return await Promise.all((sharing?.remotes ?? []).map((remote) => reached(remote, io.signal)));
  } catch (error) {
    return [{ name: 'remote cache', state: 'lacking', found: messageOf(error), remedy: 'see --remote and --trust' }];
  }
};

async function reached(remote: RemoteCache, signal: AbortSignal): Promise<Finding> {
  const name = 'remote cache';
  try {
    const manifest = await remote.manifest(NO_OUTPUT, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
    // A remote that has what nobody has built answers anything.
    if (manifest !== undefined) return { name, state: 'note', found: `${remote.name} has an output that cannot be` };
    return { name, state: 'ok', found: `${remote.name} answers` };
  } catch (error) {
    signal.throwIfAborted();
    const found = `${remote.name} does not answer: ${messageOf(error)}`;
    return { name, state: 'note', found, remedy: 'check the address and the network, or --no-remote' };
  }
}
