/** The destination of a copy: a new file that gets its name once it is complete, or an existing device. */
import { rmSync, type Stats } from 'node:fs';
import { chmod, chown, open, readlink, realpath, rename, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { file, type BlockBackend } from '@nodeos/block';
import { codeOf, folderBeside, messageOf, NodeosError, syncDirectory } from '@nodeos/base';
import type { NbdBackend } from '@nodeos/nbd';
import { exclusively } from './in-use.js';
import { hintFor, localPath, openSource, pathBelow, type OpenOptions } from './open.js';

export interface Destination {
  readonly backend: BlockBackend;
  /** Whether the destination is new, so that all of it is a hole. */
  readonly isZero: boolean;
  /** Whether the destination is on a disk of this machine: unflushed data may be lost if that is unplugged. */
  readonly isLocal: boolean;
  /** For an NBD server: whether the connection was lost, so that earlier writes may be lost too. */
  readonly mayBeLost: boolean;
  /** Completes the copy: a new file gets its name. @throws NodeosError */
  finish(): Promise<void>;
  /** Must always be called at the end. Removes a new file that is not finished. */
  close(): Promise<void>;
}

/**
 * Opens the destination of a copy.
 * @param size of a new file, in bytes
 * @throws UsageError, NodeosError if the destination certainly cannot be written
 */
export async function openDestination(text: string, size: number, options: OpenOptions = {}): Promise<Destination> {
  const path = localPath(text);
  if (path === undefined) return inPlace(text, options);
  const { target, kind } = await inspect(path).catch((error: unknown) => cannotCreate(path, error));
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

/** Opens an existing destination: an export, memory, a partition of a file or of a block device. */
async function inPlace(text: string, options: OpenOptions): Promise<Destination> {
  const write = { ...options, write: true };
  const path = pathBelow(text);
  const kind = path === undefined ? undefined : await stat(path).catch(() => undefined);
  if (path !== undefined && kind?.isBlockDevice()) return device(path, text, options);
  const opened = existing(await openSource(text, write));
  return path === undefined ? opened : { ...opened, isLocal: true };
}

/** @param path the block device that is the source, or contains it */
async function device(path: string, source: string, options: OpenOptions): Promise<Destination> {
  const open = (): Promise<BlockBackend> => openSource(source, { ...options, write: true, exclusive: true });
  return { ...existing(await exclusively(path, open)), isLocal: true };
}

/** The destination after following symbolic links, and its status; it need not exist. */
async function inspect(path: string): Promise<{ target: string; kind: Stats | undefined }> {
  const target = await followLinks(path);
  return { target, kind: await stat(target).catch(ignoring('ENOENT')) };
}

/** The same limit as in Linux. */
const MAX_LINKS = 40;

/** Follows symbolic links one by one. Unlike with realpath(3), the target of the last one need not exist. */
async function followLinks(path: string, links = 0): Promise<string> {
  if (path.endsWith('/')) throw new Error('it names a folder');
  const folder = await realpath(dirname(path));
  const place = join(folder, basename(path));
  const link = await readlink(place).catch(ignoring('ENOENT', 'EINVAL'));
  if (link === undefined) return place;
  // Such a link has no target that could be replaced; the name in it is only a description.
  if (folder.startsWith('/proc/')) throw new Error(`it leads to ${place}, which is something open and not a name`);
  if (links === MAX_LINKS) throw new Error('too many links lead to each other');
  return followLinks(isAbsolute(link) ? link : `${folder}/${link}`, links + 1);
}

const ignoring =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(codeOf(error) ?? '')) throw error;
  };

async function newFile(path: string, size: number): Promise<Destination> {
  const folder = await folderBeside(path);
  const partial = join(folder, 'file');
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  const backend = await create(partial, size).catch((error: unknown) => {
    removeFolder();
    throw error;
  });
  return {
    backend,
    isZero: true,
    isLocal: true,
    mayBeLost: false,
    async finish() {
      try {
        await permit(partial, path);
        await rename(partial, path);
        await syncDirectory(dirname(path));
      } catch (error) {
        cannotCreate(path, error);
      }
    },
    async close() {
      // Remove the file first and synchronously, so that nothing is left if closing fails or is not awaited.
      removeFolder();
      await backend.close();
    },
  };
}

/** Makes a file that is one hole. Nobody else can open it until it has its name. */
async function create(path: string, size: number): Promise<BlockBackend> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.truncate(size);
    return await file(path);
  } finally {
    await handle.close();
  }
}

/** Gives `partial` the permissions of the file that it replaces. If there is none, it gets those of any new file. */
async function permit(partial: string, path: string): Promise<void> {
  const before = await stat(path).catch(ignoring('ENOENT'));
  const mode = before ? await ownedLike(partial, before) : 0o666 & ~umask();
  // Some filesystems have no permissions. If they cannot be set, the file stays private.
  await chmod(partial, mode).catch(() => undefined);
}

/** @returns the mode to set. If the group cannot be given to the file, the mode has no permissions for the group */
async function ownedLike(partial: string, { uid, gid, mode }: Stats): Promise<number> {
  const tryChown = (owner: number): Promise<boolean> =>
    chown(partial, owner, gid).then(
      () => true,
      () => false,
    );
  const hasOwner = (await tryChown(uid)) || (await tryChown((await stat(partial)).uid));
  return mode & (hasOwner ? 0o777 : 0o707);
}

/**
 * Reads the umask, which is only possible by setting it. The temporary value is safe for files that another thread
 * makes at that moment.
 */
function umask(): number {
  const mask = process.umask(0o077);
  process.umask(mask);
  return mask;
}
