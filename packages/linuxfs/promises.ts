/** The interface of `node:fs/promises` for a mounted filesystem. */
import {
  constants,
  type BigIntStats,
  type BigIntStatsFs,
  type OpenMode,
  type PathLike,
  type Stats,
  type StatsFs,
  type TimeLike,
} from 'node:fs';
import { copyFile } from './copy-file.js';
import {
  bytesOf,
  checkWhole,
  encodingOf,
  FileHandle,
  signalOf,
  type Encoded,
  type Streams,
  type WholeData,
} from './file-handle.js';
import { Folders } from './folders.js';
import { O, SLOT_SIZE } from './protocol.js';
import { bigIntStatfsOf, bigIntStatsOf, statfsOf, statsOf } from './stats.js';
import type { Volume } from './volume.js';
import { checkSignal, flagsOf, modeOf, pathBytes, timeOf } from './words.js';

type Mode = string | number | null | undefined;
type WithFlag = { readonly flag?: OpenMode; readonly signal?: AbortSignal };

const text = (bytes: Buffer, options: Encoded | 'buffer' | { encoding: 'buffer' }): string | Buffer => {
  const encoding = (typeof options === 'string' ? options : options?.encoding) ?? 'utf8';
  return encoding === 'buffer' ? bytes : bytes.toString(encoding);
};

/** Methods may be taken off the object, as people do with those of `node:fs`. */
export class FsPromises extends Folders {
  readonly constants = constants;

  constructor(
    volume: Volume,
    private readonly streams: Streams,
  ) {
    super(volume);
  }

  access = (path: PathLike, mode = 0): Promise<void> => this.volume.access(path, mode);

  open = async (path: PathLike, flags?: OpenMode, mode?: Mode): Promise<FileHandle> => {
    const number = flagsOf(flags);
    const fd = await this.volume.open(path, number, modeOf(mode, 0o666));
    return new FileHandle(this.volume, fd, (number & O.APPEND) !== 0, this.streams);
  };

  readFile: ReadFile = (async (path: PathLike | FileHandle, options?: Encoded & WithFlag) => {
    if (path instanceof FileHandle) return path.readFile(options);
    const signal = signalOf(options);
    checkSignal(signal);
    const flag = options && typeof options === 'object' ? (options as WithFlag).flag : undefined;
    const all = await this.#readWhole(path, flagsOf(flag), signal);
    const encoding = encodingOf(options);
    return encoding === undefined ? all : all.toString(encoding);
  }) as ReadFile;

  /** Small files come with the first request; a longer one stays open, and is read on. */
  async #readWhole(path: PathLike, flags: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const { data, fd } = await this.volume.readWhole(path, flags, signal);
    if (fd === undefined) {
      checkSignal(signal);
      return data;
    }
    try {
      checkSignal(signal);
      checkWhole(await this.volume.stat({ fd }));
      const chunks = [data];
      for (let position = data.length; ;) {
        const chunk = Buffer.allocUnsafeSlow(4 * SLOT_SIZE);
        const count = await this.volume.read(fd, chunk, position, signal);
        checkSignal(signal);
        chunks.push(chunk.subarray(0, count));
        position += count;
        if (count < chunk.length) return Buffer.concat(chunks);
      }
    } finally {
      await this.volume.close(fd);
    }
  }

  writeFile = async (
    path: PathLike | FileHandle,
    data: WholeData,
    options?: (Encoded & { mode?: Mode; flush?: boolean } & WithFlag) | BufferEncoding | null,
  ): Promise<void> => {
    if (path instanceof FileHandle) return path.writeFile(data, options);
    const { mode, flag, flush = false, signal } = options && typeof options === 'object' ? options : {};
    checkSignal(signal);
    const encoding = encodingOf(options);
    const flags = flagsOf(flag, 'w');
    if (typeof data === 'string' || ArrayBuffer.isView(data)) {
      const bytes = bytesOf(data, encoding ?? 'utf8');
      if (bytes.length <= SLOT_SIZE) {
        await this.volume.writeWhole(path, bytes, { flags, mode: modeOf(mode, 0o666), flush, signal });
        return checkSignal(signal);
      }
    }
    const handle = await this.open(path, flags, modeOf(mode, 0o666));
    try {
      await handle.writeFile(data, { encoding: encoding ?? null, ...(signal ? { signal } : {}) });
      if (flush) await handle.sync();
    } finally {
      await handle.close();
    }
  };

  appendFile = (
    path: PathLike | FileHandle,
    data: WholeData,
    options?: (Encoded & { mode?: Mode; flush?: boolean } & WithFlag) | BufferEncoding | null,
  ): Promise<void> => {
    if (path instanceof FileHandle) return path.appendFile(data, options);
    const given = options && typeof options === 'object' ? options : { encoding: options ?? null };
    return this.writeFile(path, data, { flag: 'a', ...given });
  };

  stat: StatMethod = (async (path: PathLike, options: StatOptions = {}) => {
    const raw = await this.volume.stat({ path });
    return options.bigint ? bigIntStatsOf(raw) : statsOf(raw);
  }) as StatMethod;

  lstat: StatMethod = (async (path: PathLike, options: StatOptions = {}) => {
    const raw = await this.volume.stat({ path, isLink: true }, 'lstat');
    return options.bigint ? bigIntStatsOf(raw) : statsOf(raw);
  }) as StatMethod;

  statfs: StatfsMethod = (async (path: PathLike, options: StatOptions = {}) => {
    const raw = await this.volume.statfs(path);
    return options.bigint ? bigIntStatfsOf(raw) : statfsOf(raw);
  }) as StatfsMethod;

  unlink = (path: PathLike): Promise<void> => this.volume.unlink(path);
  rmdir = (path: PathLike): Promise<void> => this.volume.rmdir(path);
  rename = (from: PathLike, to: PathLike): Promise<void> => this.volume.rename(from, to);
  link = (from: PathLike, to: PathLike): Promise<void> => this.volume.link(from, to);
  symlink = (target: PathLike, path: PathLike): Promise<void> => this.volume.symlink(target, path);

  readlink: TextMethod = (async (path: PathLike, options?: Encoded) =>
    text(await this.volume.readlink(path), options)) as TextMethod;

  realpath: TextMethod = (async (path: PathLike, options?: Encoded) =>
    text(await this.volume.realpath(path), options)) as TextMethod;

  truncate = async (path: PathLike, length = 0): Promise<void> => {
    const fd = await this.volume.open(path, O.RDWR, 0);
    await this.volume.truncate({ fd }, Math.max(0, length)).finally(() => this.volume.close(fd));
  };
  chmod = (path: PathLike, mode: string | number): Promise<void> => this.volume.chmod({ path }, modeOf(mode, 0));

  /** Linux has no modes of symbolic links. @throws FsError with the code ENOTSUP for one */
  lchmod = (path: PathLike, mode: string | number): Promise<void> =>
    this.volume.chmod({ path, isLink: true }, modeOf(mode, 0));

  chown = (path: PathLike, uid: number, gid: number): Promise<void> => this.volume.chown({ path }, uid, gid);
  lchown = (path: PathLike, uid: number, gid: number): Promise<void> =>
    this.volume.chown({ path, isLink: true }, uid, gid);
  utimes = (path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> =>
    this.volume.utimes({ path }, timeOf(atime), timeOf(mtime));
  lutimes = (path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> =>
    this.volume.utimes({ path, isLink: true }, timeOf(atime), timeOf(mtime));

  copyFile = (from: PathLike, to: PathLike, mode?: number): Promise<void> => copyFile(this.volume, from, to, mode);

  /** No file can be watched. @throws Error with the code ENOSYS */
  watch = (path: PathLike): never => {
    const message = `ENOSYS: function not implemented, watch '${pathBytes(path).toString()}'`;
    throw Object.assign(new Error(message), { code: 'ENOSYS' });
  };
}

interface StatOptions {
  readonly bigint?: boolean | undefined;
}

interface StatMethod {
  (path: PathLike, options: { bigint: true }): Promise<BigIntStats>;
  (path: PathLike, options?: { bigint?: false }): Promise<Stats>;
}

interface StatfsMethod {
  (path: PathLike, options: { bigint: true }): Promise<BigIntStatsFs>;
  (path: PathLike, options?: { bigint?: false }): Promise<StatsFs>;
}

interface TextMethod {
  (path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null } | null): Promise<string>;
  (path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>;
}

interface ReadFile {
  (path: PathLike | FileHandle, options: BufferEncoding | ({ encoding: BufferEncoding } & WithFlag)): Promise<string>;
  (path: PathLike | FileHandle, options?: ({ encoding?: null } & WithFlag) | null): Promise<Buffer>;
}
