/** What concerns folders and whole trees in them: reading, making, removing and copying. */
import type { Dirent, PathLike } from 'node:fs';
import { posix } from 'node:path';
import { copy, type CpOptions } from './copy.js';
import { Directory } from './directory.js';
import { fsError, type FsError } from './errors.js';
import { encodingOf, type Encoded } from './file-handle.js';
import { direntOf, isDot, isFolder } from './stats.js';
import { O, type RawEntry } from './protocol.js';
import type { Volume } from './volume.js';
import { modeOf, pathBytes, pathText } from './words.js';

type Mode = string | number | null | undefined;

const ENOTDIR = 20;

export abstract class Folders {
  constructor(protected readonly volume: Volume) {}

  abstract copyFile: (from: PathLike, to: PathLike, mode?: number) => Promise<void>;

  /** @returns with `recursive` the first folder that was made */
  mkdir = async (
    path: PathLike,
    options?: Mode | { recursive?: boolean; mode?: Mode },
  ): Promise<string | undefined> => {
    const { recursive = false, mode } = options !== null && typeof options === 'object' ? options : { mode: options };
    const bits = modeOf(mode, 0o777);
    if (recursive) return this.#makeAll(pathText(path), bits);
    await this.volume.mkdir(path, bits);
    return undefined;
  };

  /** From the deepest folder upwards: most of a path exists already. */
  async #makeAll(path: string, mode: number): Promise<string | undefined> {
    try {
      await this.volume.mkdir(path, mode);
      return path;
    } catch (error) {
      const { code } = error as { code: string };
      const parent = posix.dirname(path);
      if (code === 'ENOENT' && parent !== path) {
        const first = await this.#makeAll(parent, mode).catch((thrown: unknown) => {
          // A symbolic link to nothing is there, so it cannot be made, and is no folder.
          const isDangling = (thrown as FsError).code === 'ENOENT' && (thrown as FsError).path === parent;
          throw isDangling ? fsError(ENOTDIR, 'mkdir', parent) : thrown;
        });
        return (await this.#makeAll(path, mode)) === undefined ? first : (first ?? path);
      }
      if (code !== 'EEXIST' && code !== 'EROFS') throw error;
      const raw = await this.volume.stat({ path }, 'mkdir');
      if (!isFolder(raw)) throw error;
      return undefined;
    }
  }

  /** @param prefix the six characters come after it */
  mkdtemp = async (prefix: PathLike, options?: Encoded): Promise<string> => {
    const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
    for (;;) {
      const end = Array.from({ length: 6 }, () => letters[Math.floor(Math.random() * letters.length)]).join('');
      const path = pathText(prefix) + end;
      try {
        await this.volume.mkdir(path, 0o700);
        return Buffer.from(path).toString(encodingOf(options) ?? 'utf8');
      } catch (error) {
        if ((error as { code: string }).code !== 'EEXIST') throw error;
      }
    }
  };

  /** A folder with a name of its own, which `remove` and disposing of it remove with all that is in it. */
  mkdtempDisposable = async (prefix: PathLike, options?: Encoded): Promise<TemporaryFolder> => {
    const path = await this.mkdtemp(prefix, options);
    const remove = (): Promise<void> => this.rm(path, { recursive: true, force: true });
    return { path, remove, [Symbol.asyncDispose]: remove };
  };

  opendir = async (path: PathLike, options: { recursive?: boolean; encoding?: string } = {}): Promise<Directory> => {
    const fd = await this.volume.open(path, O.RDONLY | O.DIRECTORY, 0).catch((error: unknown) => {
      throw Object.assign(error as Error, { syscall: 'opendir' });
    });
    return new Directory(this.volume, fd, pathText(path), options);
  };

  readdir: ReadDirectory = (async (path: PathLike, options?: ReaddirOptions | BufferEncoding | 'buffer' | null) => {
    const given = typeof options === 'string' ? { encoding: options } : (options ?? {});
    const encoding = given.encoding ?? 'utf8';
    const nameOf = (name: Buffer): string | Buffer => (encoding === 'buffer' ? name : name.toString(encoding));
    const root = pathText(path);
    const found: (string | Buffer | Dirent)[] = [];
    for await (const { folder, entry } of this.#walk(path, root, given.recursive ?? false)) {
      if (given.withFileTypes) found.push(direntOf(entry, folder, nameOf(entry.name)));
      else if (folder === root) found.push(nameOf(entry.name));
      else found.push(nameOf(Buffer.from(posix.join(posix.relative(root, folder), entry.name.toString()))));
    }
    return found;
  }) as ReadDirectory;

  /** Folder by folder, not folder in folder: the depth of a tree is not that of the stack. */
  async *#walk(path: PathLike, root: string, recursive: boolean): AsyncGenerator<{ folder: string; entry: RawEntry }> {
    const folders: [PathLike, string][] = [[path, root]];
    for (let next = folders.shift(); next; next = folders.shift()) {
      const [folder, name] = next;
      for (const entry of await this.entries(folder)) {
        yield { folder: name, entry };
        const child = Buffer.concat([pathBytes(folder), Buffer.from('/'), entry.name]);
        if (recursive && (await this.isFolder(child, entry)))
          folders.push([child, posix.join(name, String(entry.name))]);
      }
    }
  }

  /** All entries of a folder. @param withStats reads the stats in the same requests */
  async entries(path: PathLike, withStats = false): Promise<RawEntry[]> {
    const fd = await this.volume.open(path, O.RDONLY | O.DIRECTORY, 0).catch((thrown: unknown) => {
      const error = thrown as Error;
      throw Object.assign(error, { syscall: 'scandir', message: error.message.replace(', open ', ', scandir ') });
    });
    try {
      const all: RawEntry[] = [];
      for (let position = 0n; ;) {
        const { entries, next } = await this.volume.readdir(fd, position, withStats);
        if (entries.length === 0) return all;
        for (const entry of entries) if (!isDot(entry.name)) all.push(entry);
        position = next;
      }
    } finally {
      await this.volume.close(fd);
    }
  }

  protected async isFolder(path: PathLike, entry: RawEntry): Promise<boolean> {
    const [DT_UNKNOWN, DT_DIR] = [0, 4];
    if (entry.type !== DT_UNKNOWN) return entry.type === DT_DIR;
    return isFolder(await this.volume.stat({ path, isLink: true }));
  }

  rm = async (path: PathLike, options: { force?: boolean; recursive?: boolean } = {}): Promise<void> => {
    const { force = false, recursive = false } = options;
    try {
      if (!isFolder(await this.volume.stat({ path, isLink: true }, 'lstat'))) return await this.volume.unlink(path);
      if (recursive) return await this.#removeAll(pathBytes(path));
    } catch (error) {
      if (force && (error as { code: string }).code === 'ENOENT') return;
      throw error;
    }
    const text = `Path is a directory: rm returned EISDIR (is a directory) ${pathText(path)}`;
    throw Object.assign(new Error(text), { code: 'ERR_FS_EISDIR', name: 'SystemError', syscall: 'rm', path });
  };

  /** Depth first, with a stack of our own. */
  async #removeAll(root: Buffer): Promise<void> {
    const stack: { path: Buffer; isEmpty: boolean }[] = [{ path: root, isEmpty: false }];
    for (let top = stack.pop(); top; top = stack.pop()) {
      if (top.isEmpty) {
        await this.volume.rmdir(top.path);
        continue;
      }
      stack.push({ path: top.path, isEmpty: true });
      const files: Promise<void>[] = [];
      for (const entry of await this.entries(top.path)) {
        const path = Buffer.concat([top.path, Buffer.from('/'), entry.name]);
        if (await this.isFolder(path, entry)) stack.push({ path, isEmpty: false });
        else files.push(this.volume.unlink(path));
      }
      await Promise.all(files);
    }
  }

  cp = async (from: PathLike, to: PathLike, options: CpOptions = {}): Promise<void> => {
    const names = async (path: string): Promise<string[]> =>
      (await this.entries(path)).map(({ name }) => name.toString());
    await copy({ volume: this.volume, copyFile: this.copyFile, mkdir: this.mkdir, names }, from, to, options);
  };

  /** The paths that match, as `glob` of Node.js 22: absolute ones for a pattern that begins with `/`. */
  glob: Glob = ((pattern: string | readonly string[], options: GlobOptions = {}) =>
    this.#glob(typeof pattern === 'string' ? [pattern] : pattern, options)) as Glob;

  async *#glob(patterns: readonly string[], options: GlobOptions): AsyncGenerator<string | Dirent> {
    const { cwd = '/', exclude, withFileTypes = false } = options;
    const root = posix.resolve('/', pathText(cwd));
    const isRooted = patterns.map((one) => one.startsWith('/'));
    const expressions = patterns.map((one) => globExpression(one.startsWith('/') ? one : posix.join(root, one)));
    const start = isRooted.includes(true) ? '/' : root;
    const excluded = (typeof exclude === 'function' ? [] : (exclude ?? [])).map((one) => globExpression(one));
    const left: string[] = [];
    for await (const { folder, entry } of this.#walk(start, start, true)) {
      const path = posix.join(folder, entry.name.toString());
      if (left.some((one) => path.startsWith(`${one}/`))) continue;
      const [relative, dirent] = [posix.relative(root, path), direntOf(entry, folder, entry.name.toString())];
      const isLeft =
        typeof exclude === 'function'
          ? (exclude as (one: string | Dirent) => boolean)(withFileTypes ? dirent : relative)
          : excluded.some((one) => one.test(relative));
      if (isLeft) left.push(path);
      const match = isLeft ? -1 : expressions.findIndex((one) => one.test(path));
      if (match >= 0) yield withFileTypes ? dirent : isRooted[match] ? path : relative;
    }
  }
}

/** `*`, `?`, `[…]`, `{a,b}` and `**`, as a regular expression. */
export function globExpression(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const [letter, rest] = [pattern.charAt(at), pattern.slice(at)];
    const set = /^\[(!?)([^\]/]+)\]/.exec(rest);
    const choice = /^\{([^{}]*)\}/.exec(rest);
    if (rest.startsWith('**/')) [source, at] = [`${source}(?:.*/)?`, at + 2];
    else if (rest.startsWith('**')) [source, at] = [`${source}.*`, at + 1];
    else if (letter === '*') source += '[^/]*';
    else if (letter === '?') source += '[^/]';
    else if (set)
      [source, at] = [`${source}[${set[1] ? '^' : ''}${set[2]?.replace(/\\/g, '\\\\') ?? ''}]`, at + set[0].length - 1];
    else if (choice)
      [source, at] = [
        `${source}(?:${(choice[1] ?? '')
          .split(',')
          .map((one) => globExpression(one).source.slice(1, -1))
          .join('|')})`,
        at + choice[0].length - 1,
      ];
    else source += letter.replace(/[.+^${}()|[\]\\]/, '\\$&');
  }
  return new RegExp(`^${source}$`);
}

interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface GlobOptions {
  /** What the patterns and the results are relative to. Default: the root. */
  readonly cwd?: PathLike;
  /** What is left out, with all that is in it. */
  readonly exclude?: readonly string[] | ((path: string) => boolean) | ((entry: Dirent) => boolean);
  readonly withFileTypes?: boolean;
}

interface Glob {
  (pattern: string | readonly string[], options: GlobOptions & { withFileTypes: true }): AsyncGenerator<Dirent>;
  (pattern: string | readonly string[], options?: GlobOptions): AsyncGenerator<string>;
}

interface ReaddirOptions {
  readonly encoding?: BufferEncoding | 'buffer' | null;
  readonly withFileTypes?: boolean;
  readonly recursive?: boolean;
}

interface ReadDirectory {
  (path: PathLike, options: ReaddirOptions & { withFileTypes: true }): Promise<Dirent[]>;
  (path: PathLike, options: 'buffer' | { encoding: 'buffer'; withFileTypes?: false }): Promise<Buffer[]>;
  (path: PathLike, options?: BufferEncoding | (ReaddirOptions & { withFileTypes?: false }) | null): Promise<string[]>;
}
