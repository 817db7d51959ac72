/**
 * Fetches pinned sources. It tries a source's places in order, checks each file against that place's checksum and keeps
 * verified files in the cache. If no place works, the error names every place's failure.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, NodeosError } from '@nodeos/base';
import { hashInto } from './hash.js';
import { sourceLockName, type Cache } from './cache.js';
import { withLock } from './lock.js';
import { kindOf } from './places/index.js';
import { checksumOf, type Place, type Source } from './source.js';
import { storageAdvice } from './storage-advice.js';

const DEFAULT_MAX_BYTES = 1 << 30;

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/**
 * Fetches a source, or finds it in the cache.
 * @returns the path of a file that matches one of the source's checksums
 * @throws NodeosError naming each place's failure
 */
export async function fetchSource(cache: Cache, source: Source, options: FetchOptions): Promise<string> {
  const label = `${source.name} ${source.version}`;
  const failures: string[] = [];
  for (const place of source.places) {
    if (await verified(pathOf(cache, place), place)) return pathOf(cache, place);
  }
  const home = await cache.ensure('sources');
  for (const place of source.places) {
    const description = kindOf(place).describe(place);
    options.progress(`fetching ${label} from ${description}`);
    try {
      return await withLock(cache.lockPath(sourceLockName(checksumOf(place).digest)), options, () =>
        fetchFrom(cache, place, source.maxBytes ?? DEFAULT_MAX_BYTES, { ...options, home: cache.root }),
      );
    } catch (error) {
      options.signal.throwIfAborted();
      const hint = storageAdvice(error, error instanceof NodeosError ? error.lines : []);
      // The disk is the problem, so another place would not help.
      if (hint !== undefined)
        throw new NodeosError(`cannot fetch ${label}: ${messageOf(error)}`, { hint, cause: error });
      failures.push(`${description}: ${reasonOf(error)}`);
    }
  }
  throw new NodeosError(`cannot fetch ${label} from any of its ${source.places.length} places`, {
    lines: failures,
    hint: `check the network, or put the file at ${join(home, fileName(source.places[0]))}`,
  });
}

async function fetchFrom(
  cache: Cache,
  place: Place,
  maxBytes: number,
  context: FetchOptions & { readonly home: string },
): Promise<string> {
  const path = pathOf(cache, place);
  if (await verified(path, place)) return path; // another process fetched it first
  const part = `${path}.part`;
  const partial = await lstat(part).catch(() => undefined);
  // The name is predictable. If something other than a file is there, such as a link, it would lead elsewhere.
  if (partial && !partial.isFile()) await rm(part, { recursive: true });
  const resumed = partial?.isFile() === true;
  await kindOf(place).download(place, part, { ...context, maxBytes });
  const problem = await mismatch(part, place);
  if (problem !== undefined) {
    await rm(part, { force: true });
    // The earlier partial download may belong to another file. Start again from the beginning.
    if (resumed) return fetchFrom(cache, place, maxBytes, context);
    throw new NodeosError(problem);
  }
  await finalize(part);
  await rename(part, path);
  return path;
}

/** Every build reads the source. It must be synced, complete and read-only before it gets its name. */
async function finalize(path: string): Promise<void> {
  const file = await open(path, 'r');
  await file.sync().finally(() => file.close());
  await chmod(path, 0o444);
}

async function verified(path: string, place: Place): Promise<boolean> {
  if (!(await stat(path).catch(() => undefined))) return false;
  return (await mismatch(path, place)) === undefined; // the next rename replaces a damaged file
}

async function mismatch(path: string, place: Place): Promise<string | undefined> {
  const { algorithm, digest } = checksumOf(place);
  const hash = createHash(algorithm);
  await hashInto(hash, path);
  const actual = hash.digest('hex');
  return actual === digest ? undefined : `wrong ${algorithm}: expected ${digest}, got ${actual}`;
}

function fileName(place: Place | undefined): string {
  if (place === undefined) return '';
  const { algorithm, digest } = checksumOf(place);
  return `${algorithm}-${digest.slice(0, 64)}`;
}

const pathOf = (cache: Cache, place: Place): string => join(cache.root, 'sources', fileName(place));

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${messageOf(error.cause)})` : '';
  const lines = error instanceof NodeosError ? error.lines.filter((line) => /^(E:|Err|npm error)/.test(line)) : [];
  return [messageOf(error) + cause, ...lines].join('; ');
}
