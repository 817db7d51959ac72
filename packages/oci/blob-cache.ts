/**
 * Blobs in a folder, by digest. Several processes may use it at once: a blob gets its name when it is whole.
 *
 *     blobs/ALGORITHM/HEX              fetched, and checked while they came; manifests among them
 *     unpacked/ALGORITHM/HEX           layers without compression, by the digest of that
 *     erofs/ALGORITHM/HEX              images merged, by the digest of their manifest
 *     partial/ALGORITHM/HEX            what an interrupted download has left, for the next one
 *     partial/ALGORITHM/HEX.PID.RANDOM being written
 *
 * Whoever goes on with a partial file renames it first, so that no two processes write the same one.
 */
import { randomBytes } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { decompressed } from '@nodeos/tree';
import { DigestCheck, digestOf, WrongContentError, type Sized } from './digest.js';
import { MAX_MANIFEST } from './model.js';
import { RegistryError } from './registry.js';
import type { ImageSource } from './source.js';

const PIECE = 1 << 20;
/** Tries in a row that bring less than this, in bytes, until a download is given up. */
const TRIES = 5;
const PROGRESS = 1 << 20;
const FIRST_WAIT_MS = 100;
/** Files in partial/ that nobody has written for so long were left by processes that were killed. */
const ABANDONED_MS = 24 * 3600 * 1000;
/** Bytes of an unpacked layer: a few KB can be a gzip file of many GB. */
const MAX_UNPACKED = 256 * 2 ** 30;

/** What was used so recently may be in use. */
const IN_USE_MS = 3600 * 1000;

export interface PruneImages {
  /** Bytes. */
  readonly most: number;
  /** Only says what would go. */
  readonly isDry?: boolean;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  /** Bytes that have come. */
  readonly progress?: (bytes: number) => void;
}

export class BlobCache {
  readonly #running = new Map<string, Promise<string>>();

  /** @param root the folder; it is made when something is stored */
  constructor(readonly root: string) {}

  /**
   * The file of a blob, which is fetched if it is not there.
   * @throws NodeosError if it cannot be fetched; WrongContentError if it is another one
   */
  fetch(source: ImageSource, wanted: Sized, options: FetchOptions): Promise<string> {
    return this.#once(`blob ${wanted.digest}`, async () => {
      const path = this.#pathOf('blobs', wanted.digest);
      if ((await sizeOf(path)) !== wanted.size)
        await this.#store(path, true, (file) => download(source, wanted, file, options));
      else await touch(path);
      return path;
    });
  }

  /**
   * The file of a layer without compression.
   * @param diffId its digest
   * @throws WrongContentError if it is another one
   */
  unpack(source: ImageSource, layer: Sized, diffId: string, options: FetchOptions): Promise<string> {
    return this.#once(`layer ${diffId}`, async () => {
      const path = this.#pathOf('unpacked', diffId);
      if ((await sizeOf(path)) !== undefined) {
        await touch(path);
        return path;
      }
      const blob = await this.fetch(source, layer, options);
      if (layer.digest === diffId) return blob;
      const subject = `${source.name}: the layer ${layer.digest}, unpacked,`;
      await this.#store(path, false, (file) => unpack(blob, file, diffId, { ...options, subject })).catch(
        async (error: unknown) => {
          // The blob is what its digest says, or the disk has changed it. Next time it is fetched again.
          if (error instanceof WrongContentError) await rm(blob, { force: true });
          throw error;
        },
      );
      return path;
    });
  }

  /**
   * Removes what was used longest ago, until at most `most` bytes are left. What was used in the last hour stays: another
   * process may be reading it.
   * @returns what was removed, or would be
   */
  async prune({ most, isDry = false }: PruneImages): Promise<readonly { path: string; bytes: number }[]> {
    const files = (
      await Promise.all(['blobs', 'unpacked', 'erofs'].map((kind) => filesIn(join(this.root, kind))))
    ).flat();
    let left = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const removed: { path: string; bytes: number }[] = [];
    for (const { path, bytes, used } of files.sort((a, b) => a.used - b.used)) {
      if (left <= most || Date.now() - used < IN_USE_MS) break;
      if (!isDry) await rm(path, { force: true });
      removed.push({ path, bytes });
      left -= bytes;
    }
    return removed;
  }

  /** A manifest or an index that `keep` has stored. It is not checked. @returns undefined if it is not there */
  async find(digest: string): Promise<Buffer | undefined> {
    const path = this.#pathOf('blobs', digest);
    const size = await sizeOf(path);
    return size === undefined || size > MAX_MANIFEST ? undefined : readFile(path);
  }

  /** Stores what has that digest. */
  async keep(digest: string, bytes: Uint8Array): Promise<void> {
    const path = this.#pathOf('blobs', digest);
    if ((await sizeOf(path)) !== bytes.length) await this.#store(path, false, (file) => writeAll(file, bytes));
  }

  /**
   * A file that is made of what has that digest, unless it is there.
   * @param make writes the file, which gets its name when it is whole
   */
  derived(kind: 'erofs', digest: string, make: (path: string) => Promise<unknown>): Promise<string> {
    return this.#once(`${kind} ${digest}`, async () => {
      const path = this.#pathOf(kind, digest);
      if ((await sizeOf(path)) !== undefined) {
        await touch(path);
        return path;
      }
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await make(path);
      return path;
    });
  }

  /** Of several calls for the same, one does it. */
  #once(key: string, make: () => Promise<string>): Promise<string> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = make().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  #pathOf(kind: 'blobs' | 'unpacked' | 'erofs', digest: string): string {
    const { algorithm, hex } = digestOf(digest, 'the cache of images');
    return join(this.root, kind, algorithm, hex);
  }

  /**
   * Lets `write` make or complete a file, which then gets its name.
   * @param isResumable whether what is not complete stays for the next try
   */
  async #store(path: string, isResumable: boolean, write: (file: FileHandle) => Promise<void>): Promise<void> {
    const partial = join(this.root, 'partial', basename(dirname(path)));
    const left = join(partial, basename(path));
    const own = `${left}.${process.pid}.${randomBytes(6).toString('hex')}`;
    for (const folder of [partial, dirname(path)]) await mkdir(folder, { recursive: true, mode: 0o700 });
    await removeAbandoned(partial);
    if (isResumable)
      await rename(left, own).catch((error: unknown) => {
        if (codeOf(error) !== 'ENOENT') throw error;
      });
    // O_NOFOLLOW: whatever is there is no link to elsewhere.
    const file = await open(own, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      await write(file);
      await file.sync();
      await rename(own, path);
    } catch (error) {
      if (isResumable && !(error instanceof WrongContentError)) await rename(own, left).catch(() => undefined);
      await rm(own, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }
}

const sizeOf = async (path: string): Promise<number | undefined> =>
  (
    await stat(path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    })
  )?.size;

/** Notes that a file is used. Somebody may have removed it meanwhile. */
async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined);
}

/** All files below a folder, which may not be there; no links. */
async function filesIn(folder: string): Promise<{ path: string; bytes: number; used: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  const found = entries
    .filter((entry) => entry.isFile())
    .map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      const stats = await stat(path).catch(() => undefined);
      return stats ? [{ path, bytes: stats.size, used: stats.mtimeMs }] : [];
    });
  return (await Promise.all(found)).flat();
}

async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const { mtimeMs = Infinity } = (await stat(path).catch(() => undefined)) ?? {};
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(path, { force: true });
  }
}

/** Completes a file, from what it has already. */
async function download(source: ImageSource, wanted: Sized, file: FileHandle, options: FetchOptions): Promise<void> {
  const { size: resumed } = await file.stat();
  try {
    await complete(source, wanted, file, options);
  } catch (error) {
    // What was left may be of another download: once more, from the start.
    if (!(error instanceof WrongContentError) || resumed === 0) throw error;
    await file.truncate(0);
    await complete(source, wanted, file, options);
  }
}

async function complete(source: ImageSource, wanted: Sized, file: FileHandle, options: FetchOptions): Promise<void> {
  const { signal, progress = () => undefined } = options;
  const check = new DigestCheck(wanted, `${source.name}: the blob ${wanted.digest}`);
  const buffer = Buffer.allocUnsafe(PIECE);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, PIECE, check.length);
    if (bytesRead === 0) break;
    check.update(buffer.subarray(0, bytesRead));
  }
  progress(check.length);
  for (let failures = 0, last = check.length; check.length < wanted.size;) {
    try {
      const { offset, body } = await source.blob(wanted, check.length, signal);
      // A server that knows no ranges sends again what is there.
      let known = check.length - offset;
      for await (const bytes of body) {
        const fresh = bytes.subarray(Math.min(known, bytes.length));
        known -= bytes.length - fresh.length;
        await writeAll(file, fresh, check.length);
        check.update(fresh);
        progress(fresh.length);
      }
      if (check.length < wanted.size) throw new BrokenOffError(`${source.name}: the blob ${wanted.digest} broke off`);
    } catch (error) {
      signal.throwIfAborted();
      failures = check.length - last >= PROGRESS ? 1 : failures + 1;
      last = check.length;
      if (failures >= TRIES || !isTransient(error)) throw asNodeosError(error, source.name, wanted.digest);
      await sleep(FIRST_WAIT_MS * 2 ** failures, undefined, { signal });
    }
  }
  check.finish();
}

async function unpack(
  blob: string,
  file: FileHandle,
  diffId: string,
  { signal, subject }: { readonly signal: AbortSignal; readonly subject: string },
): Promise<void> {
  const check = new DigestCheck({ digest: diffId }, subject);
  try {
    for await (const bytes of decompressed(createReadStream(blob, { highWaterMark: PIECE, signal }))) {
      check.update(bytes);
      if (check.length > MAX_UNPACKED) throw new NodeosError(`${subject} has more than ${MAX_UNPACKED} bytes`);
      await writeAll(file, bytes);
    }
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOTSUP')
      throw new NodeosError(`${subject} cannot be read: ${messageOf(error)}`, {
        hint: 'images have layers of tar, compressed by gzip or zstd: copy it with skopeo copy --dest-compress-format gzip',
      });
    if (code !== 'EINVAL') throw error;
    throw new WrongContentError(`${subject} is damaged: ${messageOf(error)}`, { cause: error });
  }
  check.finish();
}

class BrokenOffError extends NodeosError {}

/** A refusal is final. A connection that breaks may hold the next time. */
function isTransient(error: unknown): boolean {
  if (error instanceof RegistryError) return error.isTransient;
  if (error instanceof BrokenOffError) return true;
  if (error instanceof NodeosError) return error.cause instanceof RegistryError && error.cause.isTransient;
  return !['ENOTFOUND', 'ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'ENOENT'].includes(codeOf(error) ?? '');
}

const asNodeosError = (error: unknown, name: string, digest: string): Error =>
  error instanceof NodeosError
    ? error
    : new NodeosError(`${name}: cannot fetch the blob ${digest}: ${messageOf(error)}`, { cause: error });

async function writeAll(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const place = position === undefined ? null : position + at;
    at += (await file.write(bytes, at, bytes.length - at, place)).bytesWritten;
  }
}
