/** Where a copy goes: a new file that has its name only when it is whole, or a device that is there already. */
import { randomBytes } from 'node:crypto';
import { rmSync, type Stats } from 'node:fs';
import { chmod, chown, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { file, type BlockBackend } from '@nodeos/block';
import { codeOf, messageOf, NodeosError, syncDirectory } from '@nodeos/base';
import type { NbdBackend } from '@nodeos/nbd';
import { claim } from './in-use.js';
import { hintFor, localPath, openSource, pathBelow, type OpenOptions } from './open.js';

export interface Destination {
  readonly backend: BlockBackend;
  /** It is new: all of it is a hole. */
  readonly isZero: boolean;
  /** On a disk of this machine: what is not flushed may be lost when it is unplugged. */
  readonly isLocal: boolean;
  /** Of a server: the connection was lost, and what was written before that may be too. */
  readonly mayBeLost: boolean;
  /** All is copied: it gets its name. @throws NodeosError */
  finish(): Promise<void>;
  /** To be called at the end in any case. What is not finished is removed, if it is new. */
  close(): Promise<void>;
}

/**
 * @param size of a new file, in bytes
 * @throws UsageError, NodeosError if it is certain that it cannot be written
 */
export async function openDestination(text: string, size: number, options: OpenOptions = {}): Promise<Destination> {
  const path = localPath(text);
  if (path === undefined) return inPlace(text, options);
  const { target, kind } = await lookAt(path).catch((error: unknown) => cannotCreate(path, error));
  if (kind?.isBlockDevice()) return device(target, target, options);
  if (kind && !kind.isFile()) throw new NodeosError(`cannot copy to ${path}: it is neither a file nor a block device`);
  return newFile(target, size).catch((error: unknown) => cannotCreate(path, error));
}

function cannotCreate(path: string, error: unknown): never {
  throw new NodeosError(`cannot create ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
}

const existing = (backend: BlockBackend & Partial<Pick<NbdBackend, 'mayBeLost'>>): Destination => ({
  backend,
  isZero: false,
  isLocal: false,
  get mayBeLost() {
    return backend.mayBeLost === true;
  },
  finish: () => Promise.resolve(),
  close: async () => backend.close(),
});

/** What is there already: an export, memory, a partition of a file or of a block device. */
async function inPlace(text: string, options: OpenOptions): Promise<Destination> {
  const write = { ...options, write: true };
  const below = pathBelow(text);
  const kind = below === undefined ? undefined : await stat(below).catch(() => undefined);
  if (below !== undefined && kind?.isBlockDevice()) return device(below, text, options);
  const opened = existing(await openSource(text, write));
  return below === undefined ? opened : { ...opened, isLocal: true };
}

/** @param path of the block device which the source is, or is a part of */
async function device(path: string, source: string, options: OpenOptions): Promise<Destination> {
  const release = await claim(path);
  try {
    const opened = existing(await openSource(source, { ...options, write: true }));
    return { ...opened, isLocal: true, close: () => opened.close().finally(release) };
  } catch (error) {
    await release();
    throw error;
  }
}

/** What is to be written, which need not be there. */
async function lookAt(path: string): Promise<{ target: string; kind: Stats | undefined }> {
  const target = await followed(path);
  return { target, kind: await stat(target).catch(unless('ENOENT')) };
}

/** As many as Linux follows. */
const MAX_LINKS = 40;

/** Where links lead, one after the other: the last one's target need not be there, which realpath(3) wants. */
async function followed(path: string, links = 0): Promise<string> {
  if (path.endsWith('/')) throw new Error('it names a folder');
  const folder = await realpath(dirname(path));
  const place = join(folder, basename(path));
  const link = await readlink(place).catch(unless('ENOENT', 'EINVAL'));
  if (link === undefined) return place;
  // Such a link has no target that could be replaced; the name in it is only a description.
  if (folder.startsWith('/proc/')) throw new Error(`it leads to ${place}, which is something open and not a name`);
  if (links === MAX_LINKS) throw new Error('too many links lead to each other');
  return followed(isAbsolute(link) ? link : `${folder}/${link}`, links + 1);
}

const unless =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(codeOf(error) ?? '')) throw error;
  };

async function newFile(path: string, size: number): Promise<Destination> {
  // A part of the name, of which all may be as long as names can be: 50 characters have 200 bytes at most.
  const name = Array.from(basename(path)).slice(0, 50).join('');
  const partial = join(dirname(path), `.${name}.${randomBytes(6).toString('hex')}.partial`);
  const backend = await create(partial, size);
  let isNamed = false;
  return {
    backend,
    isZero: true,
    isLocal: true,
    mayBeLost: false,
    async finish() {
      try {
        await permit(partial, path);
        await rename(partial, path);
        isNamed = true;
        await syncDirectory(dirname(path));
      } catch (error) {
        cannotCreate(path, error);
      }
    },
    async close() {
      // First and at once, so that nothing is left if it cannot be closed, or nobody waits for that.
      if (!isNamed) rmSync(partial, { force: true });
      await backend.close();
    },
  };
}

/** A file of one hole, which nobody else can open until it has its name. */
async function create(path: string, size: number): Promise<BlockBackend> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.truncate(size);
    return await file(path);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** Lets those use `partial` who may use what it replaces; if that is nothing, it is like any new file. */
async function permit(partial: string, path: string): Promise<void> {
  const before = await stat(path).catch(unless('ENOENT'));
  const mode = before ? await ownedLike(partial, before) : 0o666 & ~umask();
  // Some filesystems have no permissions; where they cannot be given, it stays as private as it is.
  await chmod(partial, mode).catch(() => undefined);
}

/** @returns the mode; a group that cannot be given to the file takes what the old one was allowed with it */
async function ownedLike(partial: string, { uid, gid, mode }: Stats): Promise<number> {
  const give = (owner: number): Promise<boolean> =>
    chown(partial, owner, gid).then(
      () => true,
      () => false,
    );
  const given = (await give(uid)) || (await give((await stat(partial)).uid));
  return mode & (given ? 0o777 : 0o707);
}

/** It can only be asked for by setting it: for a moment to what is safe for what another thread creates then. */
function umask(): number {
  const mask = process.umask(0o077);
  process.umask(mask);
  return mask;
}
