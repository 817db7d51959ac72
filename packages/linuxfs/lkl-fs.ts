/** One object of functions for all mountpoints: paths say which filesystem is meant, and descriptors remember it. */
import { posix } from 'node:path';
import type { MountedFilesystem } from './mounted.js';

type Anything = (...args: unknown[]) => unknown;

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
const OF_DESCRIPTORS = /^(close|readv?|writev?|fstat|fsync|fdatasync|ftruncate|fchmod|fchown|futimes)$/;

/** @param at the filesystem of a mountpoint, which is `/mnt/NUMBER` */
export function functionsFor(
  at: (mountpoint: string) => MountedFilesystem | undefined,
): Readonly<Record<string, Anything>> {
  /** Open files under numbers of their own: each kernel counts for itself. */
  const descriptors = new Map<number, { readonly mounted: MountedFilesystem; readonly fd: number }>();
  let last = 0;

  /** @throws Error with the code ENOENT for a path that is below no mountpoint */
  function placeOf(path: unknown): { mounted: MountedFilesystem; mountpoint: string; inner: string } {
    const text = posix.resolve('/', String(path));
    const [, mountpoint = '', inner = ''] = /^(\/mnt\/\d+)(\/.*)?$/s.exec(text) ?? [];
    const mounted = at(mountpoint);
    if (mounted) return { mounted, mountpoint, inner: inner || '/' };
    throw Object.assign(new Error(`ENOENT: nothing is mounted at '${text}'`), { code: 'ENOENT', path: text });
  }

  function openFile(path: unknown, ...args: unknown[]): void {
    const { mounted, inner } = placeOf(path);
    const callback = args.pop() as Anything;
    call(mounted, 'open', [
      inner,
      ...args,
      (error: Error | null, fd: number) => {
        if (error) return callback(error);
        descriptors.set(++last, { mounted, fd });
        return callback(null, last);
      },
    ]);
  }

  function withDescriptor(name: string, descriptor: number, args: unknown[]): unknown {
    const found = descriptors.get(descriptor);
    if (!found) throw Object.assign(new Error(`EBADF: bad file descriptor, ${name}`), { code: 'EBADF' });
    if (name === 'close') descriptors.delete(descriptor);
    return call(found.mounted, name, [found.fd, ...args]);
  }

  function withPaths(name: string, args: unknown[]): unknown {
    const indexes = PATHS[name] ?? [0];
    const { mounted, mountpoint } = placeOf(args[indexes[0] ?? 0]);
    const given = args.map((value, index) => (indexes.includes(index) ? placeOf(value).inner : value));
    const callback = given.at(-1);
    if (GIVES_PATH.includes(name) && typeof callback === 'function')
      given[given.length - 1] = (error: unknown, path?: string) =>
        (callback as Anything)(error, path === undefined ? path : posix.join(mountpoint, path));
    return call(mounted, name, given);
  }

  function functionFor(name: string): Anything {
    if (name === 'open') return openFile;
    if (OF_DESCRIPTORS.test(name)) return (fd, ...args) => withDescriptor(name, fd as number, args);
    return (...args) => withPaths(name, args);
  }

  return new Proxy<Record<string, Anything>>(
    {},
    { get: (_, name) => (typeof name === 'string' ? functionFor(name) : undefined) },
  );
}

/** @throws TypeError for a function that is not there, as calling it would */
function call(mounted: MountedFilesystem, name: string, args: unknown[]): unknown {
  const run = (mounted.fs as unknown as Readonly<Record<string, Anything | undefined>>)[name];
  if (typeof run !== 'function') throw new TypeError(`lkl.fs.${name} is not a function`);
  return run(...args);
}
