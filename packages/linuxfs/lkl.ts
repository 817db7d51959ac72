/**
 * The interface of the package `lkl` (node-lkl), made of this one: a program that used it runs with its import changed.
 * https://github.com/balena-io-modules/node-lkl
 *
 * A kernel starts with each disk that is mounted, and ends when that is unmounted.
 */
import { posix } from 'node:path';
import type { BlockBackend } from '@nodeos/block';
import type { MountedFilesystem } from './mounted.js';
import { open, type Disk } from './open.js';

type Callback<T> = (error: Error | null, value?: T) => void;
type Anything = (...args: any[]) => any; // eslint-disable-line @typescript-eslint/no-explicit-any

/** A file as a disk. */
class FileDisk {
  /** @param path of the file. @param readOnly nothing is written to it. Default false */
  constructor(
    readonly path: string,
    readonly readOnly = false,
  ) {}
}
export const disk = { FileDisk };

export interface MountOptions {
  /** Such as `ext4`. Default: what is found. */
  readonly filesystem?: string;
  readonly readOnly?: boolean;
  /** From 1 on. Default: the disk is the filesystem. */
  readonly partition?: number;
}

interface Mount {
  readonly disk: Disk;
  readonly mounted: MountedFilesystem;
}

const mounts = new Map<string, Mount>();
let memory: number | undefined;
let count = 0;

/** @param bytes of memory for each kernel; at least 64 MiB are taken */
export function startKernelSync(bytes?: number): void {
  memory = bytes;
}

/** Ends what is still mounted, which for its disks is a power cut. */
export function haltKernelSync(): void {
  for (const { disk } of mounts.values()) {
    disk.kill();
    void disk.close().catch(() => undefined); // that not everything is durable is what was asked for
  }
  mounts.clear();
}

/** @returns where its files are for `fs`: the start of their paths */
export async function mountAsync(from: FileDisk | BlockBackend, options: MountOptions = {}): Promise<string> {
  const isReadOnly = options.readOnly ?? (from instanceof FileDisk && from.readOnly);
  const opened = await open(from instanceof FileDisk ? from.path : from, {
    readOnly: isReadOnly,
    ...(memory === undefined ? {} : { memory }),
  });
  try {
    const { partition, filesystem } = options;
    const mounted = await opened.mount({
      ...(partition === undefined ? {} : { partition }),
      ...(filesystem === undefined ? {} : { filesystem }),
    });
    const mountpoint = `/mnt/${++count}`;
    mounts.set(mountpoint, { disk: opened, mounted });
    return mountpoint;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Makes everything durable. */
export async function umountAsync(mountpoint: string): Promise<void> {
  const { disk } = mountOf(mountpoint);
  mounts.delete(mountpoint);
  await disk.close();
}

export function mount(from: FileDisk | BlockBackend, options: MountOptions, callback: Callback<string>): void {
  answer(mountAsync(from, options), callback);
}

export function umount(mountpoint: string, callback: Callback<void>): void {
  answer(umountAsync(mountpoint), callback);
}

function answer<T>(work: Promise<T>, callback: Callback<T>): void {
  work.then(
    (value) => process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback, error),
  );
}

/** @throws Error with the code ENOENT for a path that is below no mountpoint */
function mountOf(path: unknown): Mount & { readonly mountpoint: string; readonly inner: string } {
  const text = posix.resolve('/', String(path));
  for (const [mountpoint, mount] of mounts)
    if (text === mountpoint || text.startsWith(`${mountpoint}/`))
      return { ...mount, mountpoint, inner: text.slice(mountpoint.length) || '/' };
  throw Object.assign(new Error(`ENOENT: nothing is mounted at '${text}'`), { code: 'ENOENT', path: text });
}

/** Functions whose paths are not, or not only, their first argument. */
const PATHS: Readonly<Record<string, readonly number[]>> = {
  rename: [0, 1],
  link: [0, 1],
  copyFile: [0, 1],
  cp: [0, 1],
  symlink: [1],
};
/** Functions that give a path. */
const GIVES_PATH: readonly string[] = ['realpath', 'mkdtemp', 'mkdir'];
const OF_DESCRIPTORS =
  /^(close|read|readv|write|writev|fstat|fsync|fdatasync|ftruncate|fchmod|fchown|futimes)$/;

/** Open files of all mounts under numbers of their own. */
const descriptors = new Map<number, { readonly mounted: MountedFilesystem; readonly fd: number }>();
let lastDescriptor = 0;

/** The functions of `node:fs` with callbacks; paths begin with a mountpoint. */
export const fs = new Proxy({} as Readonly<Record<string, Anything>>, {
  get: (_, name) => (typeof name === 'string' ? functionFor(name) : undefined),
});

function functionFor(name: string): Anything {
  if (name === 'open') return openFile;
  if (OF_DESCRIPTORS.test(name)) return (fd: number, ...args: unknown[]) => withDescriptor(name, fd, args);
  return (...args: unknown[]) => withPaths(name, args);
}

function withPaths(name: string, args: unknown[]): unknown {
  const found = mountOf(args[PATHS[name]?.[0] ?? 0]);
  const given = [...args];
  for (const index of PATHS[name] ?? [0]) given[index] = mountOf(args[index]).inner;
  const callback = given.at(-1);
  if (GIVES_PATH.includes(name) && typeof callback === 'function')
    given[given.length - 1] = (error: unknown, path?: string) =>
      (callback as Anything)(error, path === undefined ? path : posix.join(found.mountpoint, path));
  return call(found.mounted, name, given);
}

/** @throws TypeError for a function that is not there, as calling it would */
function call(mounted: MountedFilesystem, name: string, args: unknown[]): unknown {
  const run = (mounted.fs as unknown as Readonly<Record<string, Anything>>)[name];
  if (typeof run !== 'function') throw new TypeError(`lkl.fs.${name} is not a function`);
  return run(...args);
}

function openFile(path: unknown, ...args: unknown[]): void {
  const { mounted, inner } = mountOf(path);
  const callback = args.pop() as Callback<number>;
  call(mounted, 'open', [
    inner,
    ...args,
    (error: Error | null, fd: number) => {
      if (error) return callback(error);
      descriptors.set(++lastDescriptor, { mounted, fd });
      callback(null, lastDescriptor);
    },
  ]);
}

function withDescriptor(name: string, descriptor: number, args: unknown[]): unknown {
  const found = descriptors.get(descriptor);
  if (!found) throw Object.assign(new Error(`EBADF: bad file descriptor, ${name}`), { code: 'EBADF' });
  if (name === 'close') descriptors.delete(descriptor);
  return call(found.mounted, name, [found.fd, ...args]);
}
