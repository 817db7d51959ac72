/**
 * A mounted filesystem as a provider for `node:vfs` of Node.js 26, which is experimental: `--experimental-vfs`. What is
 * synchronous stays not implemented.
 * https://nodejs.org/api/vfs.html
 */
import type { MountedFilesystem } from './mounted.js';

type ProviderClass = new () => object;

/** What a provider is asked for, under the same names. */
const METHODS = [
  'access',
  'appendFile',
  'copyFile',
  'link',
  'lstat',
  'mkdir',
  'open',
  'readFile',
  'readdir',
  'readlink',
  'realpath',
  'rename',
  'rmdir',
  'stat',
  'symlink',
  'unlink',
  'writeFile',
] as const;

/**
 * For `create` of `node:vfs`: `create(provider(mounted)).promises`.
 * @throws Error if this Node.js has no `node:vfs`
 */
export function provider(mounted: MountedFilesystem): object {
  const builtin = process as { getBuiltinModule?: (name: string) => object | undefined };
  const vfs = builtin.getBuiltinModule?.('node:vfs') as { VirtualProvider: ProviderClass } | undefined;
  if (!vfs) throw new Error('there is no node:vfs: it is in Node.js 26, started with --experimental-vfs');
  const made = new vfs.VirtualProvider();
  for (const name of METHODS) Object.defineProperty(made, name, { value: mounted.promises[name] });
  return Object.defineProperties(made, {
    readonly: { get: () => mounted.isReadOnly },
    supportsSymlinks: { value: true },
  });
}
