/**
 * Reads package-lock.json and npm-shrinkwrap.json: which packages are installed, and from where.
 * https://docs.npmjs.com/cli/configuring-npm/package-lock-json
 */
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { codeOf, UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { parseJson } from './manifest.js';

export interface Lock {
  /** Entries by their place below the project's folder; `''` is the project. Missing in locks of version 1. */
  readonly packages?: Readonly<Record<string, LockEntry>>;
}

export interface LockEntry {
  readonly name?: string;
  readonly version?: string;
  /** A URL, or, for a link, the target folder. */
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly inBundle?: boolean;
  /** The package has an install script, or native code that node-gyp compiles. */
  readonly hasInstallScript?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Relative to the project's folder: `node_modules/NAME`. */
  readonly path: string;
  readonly resolved: string | undefined;
  readonly hasInstallScript: boolean;
}

/** In the order in which npm looks for them. */
export const LOCK_FILES = ['npm-shrinkwrap.json', 'package-lock.json'] as const;

export interface LockFile {
  readonly path: string;
  readonly lock: Lock;
}

/**
 * Reads the lock file of a folder; undefined if there is none.
 * @throws UsageError if it is not JSON, or a package's place is outside node_modules
 */
export async function readLock(dir: string): Promise<LockFile | undefined> {
  for (const name of LOCK_FILES) {
    const path = join(dir, name);
    try {
      const lock = parseJson(await readFile(path, 'utf8')) as Lock;
      checkPlaces(path, lock);
      return { path, lock };
    } catch (error) {
      if (codeOf(error) === 'ENOENT') continue;
      if (!(error instanceof SyntaxError)) throw error;
      throw new UsageError(`${path} is not valid JSON: ${error.message}`, { hint: 'run `npm install` to mend it' });
    }
  }
  return undefined;
}

const MODULES = 'node_modules/';
const PLACE = /^(?:[^/]+\/)*node_modules\/(?:@[^/]+\/)?[^/]+$/;

/** Installed packages must stay below the project. npm never writes other places, but a foreign lock file could. */
function checkPlaces(path: string, { packages = {} }: Lock): void {
  for (const [place, { link }] of Object.entries(packages)) {
    const isInstalled = link === true || place.includes(MODULES);
    if (isInstalled && (!PLACE.test(place) || place.split('/').some((part) => part === '..' || part === '.')))
      throw new UsageError(`${path}: "${place}" is no place in node_modules`, {
        hint: 'run `npm install` to write the lock file again',
      });
  }
}

/**
 * The packages of a production install for the target, sorted by path.
 * @param member restricts the result to the needs of this workspace folder
 */
export function lockedPackages(lock: Lock, target: Target, member = ''): LockedPackage[] {
  const needed = member === '' ? undefined : neededBy(lock, member);
  return Object.entries(lock.packages ?? {})
    .filter(([path, { dev, link }]) => path.includes(MODULES) && dev !== true && link !== true)
    .filter(([path]) => needed?.has(path) ?? true)
    .filter(([, { os, cpu }]) => supports(os, 'linux') && supports(cpu, target.nodeArch))
    .map(([path, { version = '', resolved, hasInstallScript = false }]) => {
      return { name: nameAt(path), version, path, resolved, hasInstallScript };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const nameAt = (path: string): string => path.replace(/^.*node_modules\//, '');

/**
 * Whether a list such as `["linux"]` or `["!win32"]` includes a name.
 * https://docs.npmjs.com/cli/configuring-npm/package-json#os
 */
function supports(list: readonly string[] | undefined, name: string): boolean {
  if (list === undefined || list.length === 0) return true;
  if (list.includes(`!${name}`)) return false;
  return list.includes(name) || list.every((item) => item.startsWith('!'));
}

/** A folder that npm links instead of installing it. */
export interface Link {
  /** The place of the link: `node_modules/NAME`. */
  readonly path: string;
  /** The target folder, relative to the project's folder: `packages/NAME`, `../NAME`. */
  readonly target: string;
}

/** The links of a production install. */
export function linksIn(lock: Lock, member = ''): Link[] {
  const needed = member === '' ? undefined : neededBy(lock, member);
  return Object.entries(lock.packages ?? {})
    .filter(([path, { link, dev }]) => link === true && dev !== true && (needed?.has(path) ?? true))
    .map(([path, { resolved = '' }]) => ({ path, target: posix.normalize(resolved) }));
}

/** The places of a folder's direct and indirect dependencies, found the way Node.js finds them. */
function neededBy(lock: Lock, member: string): Set<string> {
  const { packages = {} } = lock;
  const found = new Set<string>();
  const visit = (from: string): void => {
    const { dependencies, optionalDependencies, peerDependencies } = packages[from] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const place = placesOf(name, from).find((path) => Object.hasOwn(packages, path));
      if (place === undefined || found.has(place)) continue;
      found.add(place);
      const { link, resolved = '' } = packages[place] ?? {};
      visit(link === true ? posix.normalize(resolved) : place);
    }
  };
  visit(member);
  return found;
}

/** The places where Node.js looks for a package, from a folder upwards. */
export function placesOf(name: string, from: string): string[] {
  const parts = from === '' ? [] : from.split('/');
  return Array.from({ length: parts.length + 1 }, (_, up) => parts.slice(0, parts.length - up))
    .filter((folder) => folder.at(-1) !== 'node_modules')
    .map((folder) => posix.join(...folder, MODULES, name));
}

/**
 * The file of a package's command. `name` is the command's name or, with a scope (`npx @scope/tool`), the package's.
 * https://docs.npmjs.com/cli/commands/npm-exec
 */
export function commandFile(
  owner: string,
  bin: string | Readonly<Record<string, string>> | undefined,
  name: string,
): string | undefined {
  const short = owner.replace(/^@[^/]+\//, '');
  const commands = typeof bin === 'string' ? { [short]: bin } : (bin ?? {});
  if (Object.hasOwn(commands, name)) return commands[name];
  if (!name.startsWith('@') || name !== owner) return undefined;
  return commands[short] ?? Object.values(commands)[0];
}

/** The package that provides a command to `npm run`, searched from a folder upwards. */
export function ownerOf(lock: Lock, member: string, command: string): { name: string; dev: boolean } | undefined {
  const { packages = {} } = lock;
  for (const folder of placesOf('', member)) {
    const paths = Object.keys(packages).filter((path) => path.startsWith(folder) && path === folder + nameAt(path));
    for (const path of paths) {
      const { link, resolved = '', dev = false } = packages[path] ?? {};
      const { bin } = packages[link === true ? posix.normalize(resolved) : path] ?? {};
      if (commandFile(nameAt(path), bin, command) !== undefined) return { name: nameAt(path), dev };
    }
  }
  return undefined;
}
