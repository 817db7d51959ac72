/** The operations of one mounted filesystem, as the kernel has them. `promises.ts` makes the interface of `node:fs` of them. */
import type { PathLike } from 'node:fs';
import type { Kernel } from './kernel.js';
import {
  AFTER_OPEN,
  CLONE,
  DATA_ONLY,
  decodeEntries,
  decodeStat,
  decodeStatfs,
  INLINE_MAX,
  NO_FOLLOW,
  SLOT_SIZE,
  THEN_SYNC,
  WITH_STATS,
  ATIME_NOW,
  MTIME_NOW,
  type RawEntry,
  type RawStat,
  type RawStatfs,
  type Reply,
  type Request,
  type Time,
} from './protocol.js';
import { checkSignal, pathBytes, pathText } from './words.js';

/** An open file or a name; names of symbolic links mean the links if `isLink`. */
export type Target = { readonly fd: number } | { readonly path: PathLike; readonly isLink?: boolean };

/** What is done, for errors, and what gives it up. */
interface Doing {
  readonly syscall: string;
  /** What failed if the file could be opened; such an error has no path. */
  readonly then?: string;
  readonly path?: PathLike | undefined;
  readonly dest?: PathLike | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface WholeOptions {
  readonly flags: number;
  /** Of a new file, before the umask. */
  readonly mode: number;
  /** Whether it is durable when it is done. */
  readonly flush: boolean;
  readonly signal?: AbortSignal | undefined;
}

const ENOENT = 2; // what an empty path gives

export class Volume {
  #isMounted = true;

  constructor(
    readonly kernel: Kernel,
    readonly mount: number,
  ) {}

  /** No operation works afterwards. */
  markUnmounted(): void {
    this.#isMounted = false;
  }

  /** @throws FsError if the kernel replies with one */
  call(request: Request, syscall: string, path?: PathLike, dest?: PathLike): Promise<Reply> {
    return this.#call(request, { syscall, path, dest });
  }

  /** @throws FsError if the kernel replies with one; an AbortError if that is because the signal gave it up */
  async #call(request: Request, { syscall, path, dest, signal, then = syscall }: Doing): Promise<Reply> {
    if (request.name?.length === 0 && !request.handle) throw this.#error(ENOENT, syscall, path, dest);
    const reply = this.#isMounted ? await this.kernel.call({ ...request, mount: this.mount }, signal) : EBADF;
    if (typeof reply !== 'number') return reply;
    checkSignal(signal);
    if (reply & AFTER_OPEN) throw this.#error(reply & ~AFTER_OPEN, then);
    throw this.#error(reply, syscall, path, dest);
  }

  #error(number: number, syscall: string, path?: PathLike, dest?: PathLike): Error {
    return this.kernel.error(
      number,
      syscall,
      path === undefined ? undefined : pathText(path),
      dest === undefined ? undefined : pathText(dest),
    );
  }

  /** @returns the descriptor. @param mode of a new file, before the umask */
  async open(path: PathLike, flags: number, mode: number): Promise<number> {
    return (await this.call({ op: 'OPEN', name: pathBytes(path), flags, mode }, 'open', path)).handle;
  }

  async close(fd: number): Promise<void> {
    await this.call({ op: 'CLOSE', handle: fd }, 'close');
  }

  /** Fills the buffer, or less of it at the end of the file and if the signal gives it up. @param position bytes, at least 0 */
  async read(fd: number, into: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const part = into.subarray(done, done + SLOT_SIZE);
      const count = await this.#readPart(fd, part, position + done, signal);
      done += count;
      if (count < part.length) break;
    }
    return done;
  }

  async #readPart(fd: number, into: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    const doing = { syscall: 'read', signal };
    const request = { op: 'READ', handle: fd, offset: position, size: into.length } as const;
    if (into.length <= INLINE_MAX) {
      const { data } = await this.#call(request, doing);
      into.set(data.subarray(0, into.length));
      return data.length;
    }
    return this.kernel.slots.with(async (slot) => {
      const { value } = await this.#call({ ...request, slot: slot.number }, doing);
      slot.read(into, value);
      return value;
    });
  }

  /** Writes everything, or less if the signal gives it up. @param position bytes; of a file opened for appending it does not count */
  async write(fd: number, bytes: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    let done = 0;
    do {
      const length = Math.min(SLOT_SIZE, bytes.length - done);
      const count = await this.#writePart(fd, bytes.subarray(done, done + length), position + done, signal);
      done += count;
      if (count < length) break; // the next write says why
    } while (done < bytes.length);
    return done;
  }

  async #writePart(fd: number, bytes: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    const doing = { syscall: 'write', signal };
    const request = { op: 'WRITE', handle: fd, offset: position, size: bytes.length } as const;
    if (bytes.length <= INLINE_MAX) return (await this.#call({ ...request, data: bytes }, doing)).value;
    return this.kernel.slots.with(async (slot) => {
      slot.write(bytes);
      return (await this.#call({ ...request, slot: slot.number }, doing)).value;
    });
  }

  /** The first bytes of a file, and its descriptor if there may be more. */
  async readWhole(
    path: PathLike,
    flags: number,
    signal?: AbortSignal,
  ): Promise<{ data: Buffer; fd: number | undefined }> {
    return this.kernel.slots.with(async (slot) => {
      const request = { op: 'READ_FILE', name: pathBytes(path), flags, slot: slot.number } as const;
      const { handle, value } = await this.#call(request, { syscall: 'open', path, signal, then: 'read' });
      return { data: slot.bytes(value), fd: handle || undefined };
    });
  }

  /** Opens, writes and closes in one request. @param bytes at most SLOT_SIZE */
  async writeWhole(path: PathLike, bytes: Uint8Array, options: WholeOptions): Promise<void> {
    const { flags, mode, flush, signal } = options;
    const doing = { syscall: 'open', path, signal, then: 'write' };
    const request = {
      op: 'WRITE_FILE',
      name: pathBytes(path),
      flags,
      mode,
      size: bytes.length,
      value: flush ? THEN_SYNC : 0,
    } as const;
    if (bytes.length <= INLINE_MAX) {
      await this.#call({ ...request, data: bytes }, doing);
      return;
    }
    await this.kernel.slots.with(async (slot) => {
      slot.write(bytes);
      await this.#call({ ...request, slot: slot.number }, doing);
    });
  }

  async stat(target: Target, syscall = 'stat'): Promise<RawStat> {
    const { data } = await this.call({ op: 'STAT', ...this.#of(target) }, syscall, pathOf(target));
    return decodeStat(data);
  }

  async statfs(path: PathLike): Promise<RawStatfs> {
    return decodeStatfs((await this.call({ op: 'STATFS', name: pathBytes(path) }, 'statfs', path)).data);
  }

  /** Some entries of an open folder from a position on, without `.` and `..`; none at its end. */
  async readdir(fd: number, position: bigint, withStats: boolean): Promise<{ entries: RawEntry[]; next: bigint }> {
    return this.kernel.slots.with(async (slot) => {
      const flags = withStats ? WITH_STATS : 0;
      const request = { op: 'READDIR', handle: fd, offset: position, flags, slot: slot.number } as const;
      const { value } = await this.call(request, 'scandir');
      return decodeEntries(slot.bytes(value), withStats);
    });
  }

  async fsync(fd: number, dataOnly = false): Promise<void> {
    const request = { op: 'FSYNC', handle: fd, flags: dataOnly ? DATA_ONLY : 0 } as const;
    await this.call(request, dataOnly ? 'fdatasync' : 'fsync');
  }

  async truncate(target: Target, size: number): Promise<void> {
    const syscall = 'fd' in target ? 'ftruncate' : 'truncate';
    await this.call({ op: 'TRUNCATE', ...this.#of(target), size }, syscall, pathOf(target));
  }

  /** @param mode `FALLOC_FL_*` of fallocate(2) */
  async allocate(fd: number, offset: number, size: number, mode: number): Promise<void> {
    await this.call({ op: 'ALLOCATE', handle: fd, offset, size, mode }, 'fallocate');
  }

  /** The next data or hole at or after `offset`. @throws FsError with the code ENXIO if there is none */
  async seek(fd: number, offset: number, what: 'data' | 'hole'): Promise<number> {
    const [SEEK_DATA, SEEK_HOLE] = [3, 4];
    const mode = what === 'data' ? SEEK_DATA : SEEK_HOLE;
    return (await this.call({ op: 'SEEK', handle: fd, offset, mode }, 'lseek')).value;
  }

  /** Copies within the kernel, shared where the filesystem can. @returns bytes, fewer at the end of the file */
  async copyRange(from: number, offset: number, to: number, at: number, size: number): Promise<number> {
    const request = { op: 'COPY', handle: from, offset, flags: to, value: at, size } as const;
    return (await this.call(request, 'copy_file_range')).value;
  }

  /** All of a file becomes that of another, with the same blocks. @throws FsError with the code ENOTSUP if the filesystem cannot */
  async clone(from: number, to: number): Promise<void> {
    await this.call({ op: 'COPY', handle: from, flags: to, mode: CLONE }, 'ficlone');
  }

  async mkdir(path: PathLike, mode: number): Promise<void> {
    await this.call({ op: 'MKDIR', name: pathBytes(path), mode }, 'mkdir', path);
  }

  async rmdir(path: PathLike): Promise<void> {
    await this.call({ op: 'RMDIR', name: pathBytes(path) }, 'rmdir', path);
  }

  async unlink(path: PathLike): Promise<void> {
    await this.call({ op: 'UNLINK', name: pathBytes(path) }, 'unlink', path);
  }

  /** @param flags `RENAME_*` of renameat2(2) */
  async rename(from: PathLike, to: PathLike, flags = 0): Promise<void> {
    await this.call({ op: 'RENAME', name: pathBytes(from), other: pathBytes(to), flags }, 'rename', from, to);
  }

  async link(from: PathLike, to: PathLike): Promise<void> {
    await this.call({ op: 'LINK', name: pathBytes(from), other: pathBytes(to) }, 'link', from, to);
  }

  async symlink(target: PathLike, path: PathLike): Promise<void> {
    const content = typeof target === 'string' ? Buffer.from(target) : pathBytes(target);
    await this.call({ op: 'SYMLINK', name: content, other: pathBytes(path) }, 'symlink', target, path);
  }

  async readlink(path: PathLike): Promise<Buffer> {
    return (await this.call({ op: 'READLINK', name: pathBytes(path) }, 'readlink', path)).data;
  }

  /** @param mode with its type, `S_IF*`. @param device of a device node */
  async mknod(path: PathLike, mode: number, device: readonly [major: number, minor: number] = [0, 0]): Promise<void> {
    const value = (BigInt(device[0]) << 32n) | BigInt(device[1]);
    await this.call({ op: 'MKNOD', name: pathBytes(path), mode, value }, 'mknod', path);
  }

  async realpath(path: PathLike): Promise<Buffer> {
    return (await this.call({ op: 'REALPATH', name: pathBytes(path) }, 'realpath', path)).data;
  }

  async access(path: PathLike, mode: number): Promise<void> {
    await this.call({ op: 'ACCESS', name: pathBytes(path), mode }, 'access', path);
  }

  async chmod(target: Target, mode: number): Promise<void> {
    await this.call({ op: 'CHMOD', ...this.#of(target), mode }, 'fd' in target ? 'fchmod' : 'chmod', pathOf(target));
  }

  async chown(target: Target, uid: number, gid: number): Promise<void> {
    const syscall = 'fd' in target ? 'fchown' : target.isLink ? 'lchown' : 'chown';
    await this.call({ op: 'CHOWN', ...this.#of(target), uid: uid >>> 0, gid: gid >>> 0 }, syscall, pathOf(target));
  }

  /** A time that is undefined becomes the present. */
  async utimes(target: Target, access: Time | undefined, modification: Time | undefined): Promise<void> {
    const syscall = 'fd' in target ? 'futime' : target.isLink ? 'lutime' : 'utime';
    const { flags = 0, ...of } = this.#of(target);
    const request = {
      op: 'UTIMES',
      ...of,
      flags: flags | (access ? 0 : ATIME_NOW) | (modification ? 0 : MTIME_NOW),
      offset: access?.seconds ?? 0,
      uid: access?.nanoseconds ?? 0,
      size: modification?.seconds ?? 0,
      gid: modification?.nanoseconds ?? 0,
    } as const;
    await this.call(request, syscall, pathOf(target));
  }

  async getxattr(target: Target, name: string): Promise<Buffer> {
    const request = { op: 'GETXATTR', ...this.#of(target), other: pathBytes(name) } as const;
    return (await this.call(request, 'getxattr', pathOf(target))).data;
  }

  /** @param mode `XATTR_CREATE` (1) or `XATTR_REPLACE` (2) of setxattr(2), or 0 */
  async setxattr(target: Target, name: string, value: Uint8Array, mode = 0): Promise<void> {
    const request = { op: 'SETXATTR', ...this.#of(target), other: pathBytes(name), data: value, mode } as const;
    await this.call(request, 'setxattr', pathOf(target));
  }

  async listxattr(target: Target): Promise<string[]> {
    const { data } = await this.call({ op: 'LISTXATTR', ...this.#of(target) }, 'listxattr', pathOf(target));
    return data.toString().split('\0').filter(Boolean);
  }

  async removexattr(target: Target, name: string): Promise<void> {
    const request = { op: 'REMOVEXATTR', ...this.#of(target), other: pathBytes(name) } as const;
    await this.call(request, 'removexattr', pathOf(target));
  }

  /**
   * ioctl(2) of an open file. The argument must have no addresses in it.
   * @returns what became of it. @throws FsError with the code ENOTTY if the driver does not know the number
   */
  async ioctl(fd: number, command: number, argument: Uint8Array, syscall = 'ioctl'): Promise<Buffer> {
    return (await this.call({ op: 'IOCTL', handle: fd, value: command, data: argument }, syscall)).data;
  }

  /** Changes the options of the mount. @param flags `MS_*` of mount(2) */
  async remount(flags: number, options: string): Promise<void> {
    await this.call({ op: 'REMOUNT', flags, other: Buffer.from(options) }, 'remount');
  }

  /** Makes everything durable. */
  async sync(): Promise<void> {
    await this.call({ op: 'SYNC' }, 'syncfs');
  }

  #of(target: Target): { handle?: number; name?: Buffer; flags?: number } {
    if ('fd' in target) return { handle: target.fd };
    return { name: pathBytes(target.path), flags: target.isLink ? NO_FOLLOW : 0 };
  }
}

const EBADF = 9;
const pathOf = (target: Target): PathLike | undefined => ('fd' in target ? undefined : target.path);
