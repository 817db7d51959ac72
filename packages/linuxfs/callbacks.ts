/** The functions of `node:fs` that take a callback, made of those that return promises. Descriptors are numbers. */
import type { PathLike, TimeLike } from 'node:fs';
import { bigIntStatsOf, statsOf } from './stats.js';
import type { FsPromises } from './promises.js';
import type { Volume } from './volume.js';
import { flagsOf, modeOf, timeOf } from './words.js';

/** The last argument is the callback: `(error, …results)`. */
type WithCallback = (...args: any[]) => void; // eslint-disable-line @typescript-eslint/no-explicit-any
export type Callbacks = Readonly<
  Record<(typeof NAMES)[number] | keyof ReturnType<typeof descriptors>, WithCallback>
> & {
  exists: WithCallback;
  glob: WithCallback;
};

/** Those that are the same in both forms. */
const NAMES = [
  'access',
  'appendFile',
  'chmod',
  'chown',
  'copyFile',
  'cp',
  'lchmod',
  'lchown',
  'link',
  'lstat',
  'lutimes',
  'mkdir',
  'mkdtemp',
  'opendir',
  'readFile',
  'readdir',
  'readlink',
  'realpath',
  'rename',
  'rm',
  'rmdir',
  'stat',
  'statfs',
  'symlink',
  'truncate',
  'unlink',
  'utimes',
  'writeFile',
] as const;

export function callbacksOf(volume: Volume, promises: FsPromises): Callbacks {
  const named = NAMES.map((name) => [name, withCallback(promises[name] as Returning)] as const);
  const numbered = Object.entries(descriptors(volume)).map(([name, run]) => [name, withCallback(run)] as const);
  const all = { ...Object.fromEntries(named), ...Object.fromEntries(numbered) } as Record<string, WithCallback>;
  all['exists'] = (path: PathLike, callback: (exists: boolean) => void) =>
    void promises.access(path).then(
      () => callback(true),
      () => callback(false),
    );
  all['glob'] = withCallback(async (...args: Parameters<FsPromises['glob']>) => {
    const found = [];
    for await (const one of promises.glob(...args)) found.push(one);
    return found;
  });
  Object.assign(all['realpath'] as object, { native: all['realpath'] });
  return all as Callbacks;
}

type Returning = (...args: unknown[]) => Promise<unknown>;
const MANY = Symbol('several results of a callback');

/** A callback gets its results after the current turn, and an error that it throws is not ours. */
function withCallback(run: (...args: never[]) => Promise<unknown>): WithCallback {
  return (...args: unknown[]) => {
    const callback = args.pop();
    if (typeof callback !== 'function')
      throw Object.assign(new TypeError('The "cb" argument must be of type function.'), {
        code: 'ERR_INVALID_ARG_TYPE',
      });
    (run as Returning)(...args).then(
      (value) =>
        process.nextTick(callback as () => void, null, ...(Array.isArray(value) && MANY in value ? value : [value])),
      (error: unknown) => process.nextTick(callback as () => void, error),
    );
  };
}

const many = (...values: unknown[]): unknown[] => Object.assign(values, { [MANY]: true });

type View = NodeJS.ArrayBufferView;

/** What `node:fs` does with a descriptor. Each has a position of its own, which the kernel does not keep. */
function descriptors(volume: Volume) {
  const positions = new Map<number, number>();
  const at = (fd: number, position: unknown): number => {
    const given = typeof position === 'bigint' ? Number(position) : position;
    return typeof given === 'number' && given >= 0 ? given : (positions.get(fd) ?? 0);
  };
  const advance = (fd: number, position: unknown, count: number): void => {
    if (position === null || position === undefined || Number(position) < 0)
      positions.set(fd, (positions.get(fd) ?? 0) + count);
  };
  const read = async (fd: number, bytes: Uint8Array, position: unknown): Promise<number> => {
    const count = await volume.read(fd, bytes, at(fd, position));
    advance(fd, position, count);
    return count;
  };
  const write = async (fd: number, bytes: Uint8Array, position: unknown): Promise<number> => {
    const count = await volume.write(fd, bytes, at(fd, position));
    advance(fd, position, count);
    return count;
  };
  return {
    open: (path: PathLike, flags?: string | number, mode?: string | number) =>
      volume.open(path, flagsOf(flags), modeOf(mode, 0o666)),
    close: (fd: number) => {
      positions.delete(fd);
      return volume.close(fd);
    },
    read: async (fd: number, buffer: View | object, offset?: unknown, length?: unknown, position?: unknown) => {
      const given: Part = isView(buffer)
        ? { buffer, ...(offset !== null && typeof offset === 'object' ? offset : { offset, length, position }) }
        : { buffer: Buffer.alloc(16384), ...buffer };
      const part = partOf(given);
      return many(await read(fd, part, given.position), given.buffer);
    },
    readv: async (fd: number, buffers: readonly View[], position?: unknown) => {
      const all = Buffer.alloc(buffers.reduce((sum, { byteLength }) => sum + byteLength, 0));
      const count = await read(fd, all, position);
      let done = 0;
      for (const buffer of buffers) {
        const part = all.subarray(done, Math.min(count, done + buffer.byteLength));
        new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).set(part);
        done += buffer.byteLength;
      }
      return many(count, buffers);
    },
    write: async (fd: number, data: View | string, offset?: unknown, length?: unknown, position?: unknown) => {
      if (typeof data === 'string')
        return many(
          await write(fd, Buffer.from(data, typeof length === 'string' ? (length as BufferEncoding) : 'utf8'), offset),
          data,
        );
      const where = offset !== null && typeof offset === 'object' ? offset : { offset, length, position };
      const given: Part = { buffer: data, ...where };
      return many(await write(fd, partOf(given), given.position), data);
    },
    writev: async (fd: number, buffers: readonly View[], position?: unknown) => {
      const parts = buffers.map((buffer) => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength));
      return many(await write(fd, Buffer.concat(parts), position), buffers);
    },
    fstat: async (fd: number, options: { bigint?: boolean } = {}) => {
      const raw = await volume.stat({ fd }, 'fstat');
      return options.bigint ? bigIntStatsOf(raw) : statsOf(raw);
    },
    fsync: (fd: number) => volume.fsync(fd),
    fdatasync: (fd: number) => volume.fsync(fd, true),
    ftruncate: (fd: number, length = 0) => volume.truncate({ fd }, Math.max(0, length)),
    fchmod: (fd: number, mode: string | number) => volume.chmod({ fd }, modeOf(mode, 0)),
    fchown: (fd: number, uid: number, gid: number) => volume.chown({ fd }, uid, gid),
    futimes: (fd: number, atime: TimeLike, mtime: TimeLike) => volume.utimes({ fd }, timeOf(atime), timeOf(mtime)),
  };
}

const isView = (value: unknown): value is View => ArrayBuffer.isView(value);

interface Part {
  readonly buffer: View;
  readonly offset?: unknown;
  readonly length?: unknown;
  readonly position?: unknown;
}

function partOf(given: Part): Uint8Array {
  const { buffer } = given;
  const offset = typeof given.offset === 'number' ? given.offset : 0;
  const length = typeof given.length === 'number' ? given.length : buffer.byteLength - offset;
  if (offset < 0 || length < 0 || offset + length > buffer.byteLength)
    throw Object.assign(
      new RangeError(`${length} bytes at ${offset} are outside a buffer of ${buffer.byteLength} bytes`),
      {
        code: 'ERR_OUT_OF_RANGE',
      },
    );
  return new Uint8Array(buffer.buffer, buffer.byteOffset + offset, length);
}
