/** `cp` of `node:fs`: files, links and whole folders. https://nodejs.org/api/fs.html#fspromisescpsrc-dest-options */
import type { PathLike } from 'node:fs';
import { constants } from 'node:os';
import { posix } from 'node:path';
import { isFile, isFolder, isLink, isSame } from './stats.js';
import type { RawStat } from './protocol.js';
import type { Volume } from './volume.js';
import { checkTypes, copyModeOf, pathText } from './words.js';

export interface CpOptions {
  /** Folders are copied with all that is in them. Default false. */
  readonly recursive?: boolean;
  /** What symbolic links lead to is copied, not the links. Default false. */
  readonly dereference?: boolean;
  /** With `force: false`: it is an error if the destination exists. Default false. */
  readonly errorOnExist?: boolean;
  /** A file that exists is replaced. Default true. */
  readonly force?: boolean;
  readonly preserveTimestamps?: boolean;
  /** Of `copyFile`. */
  readonly mode?: number;
  /** Relative links stay as they are. By default they become absolute. */
  readonly verbatimSymlinks?: boolean;
  /** What it refuses is not copied, nor is what is in it. */
  filter?(source: string, destination: string): boolean | Promise<boolean>;
}

const OPTIONS = {
  ...{ recursive: 'boolean', dereference: 'boolean', errorOnExist: 'boolean', force: 'boolean' },
  ...{ preserveTimestamps: 'boolean', verbatimSymlinks: 'boolean', filter: 'function' },
} as const;

/** Why something is not copied: the code, and the words of Node.js. */
const REFUSALS = {
  EINVAL: ['ERR_FS_CP_EINVAL', 'Invalid src or dest', 'EINVAL'],
  FILE_THERE: ['ERR_FS_CP_DIR_TO_NON_DIR', 'Cannot overwrite non-directory with directory', 'EISDIR'],
  FOLDER_THERE: ['ERR_FS_CP_NON_DIR_TO_DIR', 'Cannot overwrite directory with non-directory', 'ENOTDIR'],
  EXISTS: ['ERR_FS_CP_EEXIST', 'Target already exists', 'EEXIST'],
  LINK_ABOVE: ['ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY', 'Cannot overwrite symlink in subdirectory of self', 'EINVAL'],
  FOLDER: ['ERR_FS_EISDIR', 'Path is a directory', 'EISDIR'],
  SOCKET: ['ERR_FS_CP_SOCKET', 'Cannot copy a socket file', 'EINVAL'],
  PIPE: ['ERR_FS_CP_FIFO_PIPE', 'Cannot copy a FIFO pipe', 'EINVAL'],
  UNKNOWN: ['ERR_FS_CP_UNKNOWN', 'Cannot copy an unknown file type', 'EINVAL'],
} as const;

function refusal(kind: keyof typeof REFUSALS, text: string, path: string): Error {
  const [code, title, errno] = REFUSALS[kind];
  const message = `${title}: cp returned ${errno} (${text}) ${path}`;
  return Object.assign(new Error(message), {
    code,
    name: 'SystemError',
    errno: constants.errno[errno],
    syscall: 'cp',
    path,
  });
}

/** The types that are not copied. A device of an image is data that cannot be opened. */
const NOT_COPIED: Readonly<Record<number, keyof typeof REFUSALS>> = { 0o140000: 'SOCKET', 0o010000: 'PIPE' };

/** Whether a path leads to another or below it; only names are compared. */
const isWithin = (path: string, folder: string): boolean => `${posix.resolve('/', path)}/`.startsWith(prefixOf(folder));
const prefixOf = (folder: string): string => `${posix.resolve('/', folder)}/`.replace('//', '/');

/** What copying is made of. */
export interface Copying {
  readonly volume: Volume;
  copyFile(from: string, to: string, mode?: number): Promise<void>;
  mkdir(path: string, options?: { recursive: boolean }): Promise<unknown>;
  /** The names in a folder. */
  names(path: string): Promise<string[]>;
}

/** @throws Error with a code ERR_FS_CP_… for what cannot be copied */
export async function copy(fs: Copying, from: PathLike, to: PathLike, options: CpOptions): Promise<void> {
  checkTypes(options, OPTIONS);
  copyModeOf(options.mode);
  const { dereference, verbatimSymlinks, force = true } = options;
  if (dereference && verbatimSymlinks) {
    const text = 'Option "dereference" cannot be used in combination with option "verbatimSymlinks"';
    throw Object.assign(new TypeError(text), { code: 'ERR_INCOMPATIBLE_OPTION_PAIR' });
  }
  await new Copier(fs, { ...options, force }).run(pathText(from), pathText(to));
}

class Copier {
  constructor(
    private readonly fs: Copying,
    private readonly options: CpOptions,
  ) {}

  async run(from: string, to: string): Promise<void> {
    const found = await this.#look(from, to);
    if (!found) return;
    const parent = posix.dirname(to);
    if (!(await this.#exists(parent))) await this.fs.mkdir(parent, { recursive: true });
    await this.#copy(from, to, found);
  }

  /** What is at both ends, or nothing if the filter refuses it. @throws Error if one cannot become the other */
  async #look(from: string, to: string): Promise<Found | undefined> {
    const { options } = this;
    if (options.filter && !(await options.filter(from, to))) return undefined;
    const source = await this.#stat(from);
    const target = await this.#stat(to).catch(unlessMissing);
    if (target && isSame(source, target)) throw refusal('EINVAL', 'src and dest cannot be the same', to);
    if (target && isFolder(source) && !isFolder(target))
      throw refusal('FILE_THERE', `cannot overwrite non-directory ${to} with directory ${from}`, to);
    if (target && !isFolder(source) && isFolder(target))
      throw refusal('FOLDER_THERE', `cannot overwrite directory ${to} with non-directory ${from}`, to);
    if (isFolder(source)) await this.#checkWithin(from, source, to);
    return { source, target };
  }

  /**
   * A destination may lead into the source through links. Then each copy would be copied too, until the names are too long,
   * which is what Node.js does.
   */
  async #checkWithin(from: string, source: RawStat, to: string): Promise<void> {
    for (let above = await this.#folderOf(to); ; above = posix.dirname(above)) {
      if (isSame(source, await this.fs.volume.stat({ path: above })))
        throw refusal('EINVAL', `cannot copy ${from} to a subdirectory of self ${to}`, to);
      if (above === '/') return;
    }
  }

  /** A path without links, as far as it is there. */
  async #folderOf(path: string): Promise<string> {
    for (let above = posix.resolve('/', path); ; above = posix.dirname(above)) {
      const real = await this.fs.volume.realpath(above).catch(unlessMissing);
      if (real) return real.toString();
    }
  }

  async #copy(from: string, to: string, { source, target }: Found): Promise<void> {
    if (isFolder(source)) return this.#copyFolder(from, to, source, target);
    if (isFile(source)) return this.#copyFile(from, to, source, target);
    if (isLink(source)) return this.#copyLink(from, to, target);
    const kind = NOT_COPIED[source.mode & 0o170000] ?? 'UNKNOWN';
    throw refusal(kind, `${REFUSALS[kind][1].replace('C', 'c')}: ${to}`, to);
  }

  async #copyFolder(from: string, to: string, source: RawStat, target: RawStat | undefined): Promise<void> {
    if (!this.options.recursive) throw refusal('FOLDER', `${from} is a directory (not copied)`, from);
    if (!target) await this.fs.mkdir(to);
    for (const name of await this.fs.names(from)) {
      const [below, there] = [posix.join(from, name), posix.join(to, name)];
      const found = await this.#look(below, there);
      if (found) await this.#copy(below, there, found);
    }
    if (!target) await this.#chmod(to, source);
  }

  async #copyFile(from: string, to: string, source: RawStat, target: RawStat | undefined): Promise<void> {
    const { force, errorOnExist, preserveTimestamps, mode } = this.options;
    if (target && !force) {
      if (errorOnExist) throw refusal('EXISTS', `${to} already exists`, to);
      return;
    }
    if (target) await this.fs.volume.unlink(to);
    await this.fs.copyFile(from, to, mode);
    if (preserveTimestamps) await this.fs.volume.utimes({ path: to }, source.access, source.modification);
    await this.#chmod(to, source);
  }

  async #copyLink(from: string, to: string, target: RawStat | undefined): Promise<void> {
    const { volume } = this.fs;
    const text = (await volume.readlink(from)).toString();
    const isAsItIs = this.options.verbatimSymlinks === true || posix.isAbsolute(text);
    const source = isAsItIs ? text : posix.resolve('/', posix.dirname(from), text);
    if (target && isLink(target)) {
      const there = posix.resolve('/', posix.dirname(to), (await volume.readlink(to)).toString());
      if (isWithin(there, source))
        throw refusal('EINVAL', `cannot copy ${source} to a subdirectory of self ${there}`, to);
      if (isFolder(await volume.stat({ path: from })) && isWithin(source, there))
        throw refusal('LINK_ABOVE', `cannot overwrite ${there} with ${source}`, to);
      await volume.unlink(to);
    }
    await volume.symlink(source, to);
  }

  #stat(path: string): Promise<RawStat> {
    const isLink = !this.options.dereference;
    return this.fs.volume.stat({ path, isLink }, isLink ? 'lstat' : 'stat');
  }

  async #exists(path: string): Promise<boolean> {
    return (await this.fs.volume.stat({ path }).catch(unlessMissing)) !== undefined;
  }

  #chmod(path: string, { mode }: RawStat): Promise<void> {
    return this.fs.volume.chmod({ path }, mode & 0o7777);
  }
}

interface Found {
  readonly source: RawStat;
  readonly target: RawStat | undefined;
}

function unlessMissing(error: unknown): undefined {
  if ((error as { code?: string }).code !== 'ENOENT') throw error;
}
