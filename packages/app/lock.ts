/**
 * package-lock.json and npm-shrinkwrap.json: which packages will be installed, and from where.
 * https://docs.npmjs.com/cli/configuring-npm/package-lock-json
 */
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { codeOf, UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { parseJson } from './manifest.js';

export interface Lock {
  /** By the place below the project's folder; `''` is the project. Not in locks of version 1. */
  readonly packages?: Readonly<Record<string, LockEntry>>;
}

export interface LockEntry {
  readonly name?: string;
  readonly version?: string;
  /** A URL; of a link, the folder that it leads to. */
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly inBundle?: boolean;
  /** It has an install script, or native code that node-gyp compiles. */
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
  /** Below the project's folder: `node_modules/NAME`. */
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

/** @throws UsageError if it is not JSON. */
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

/** What is installed has its place below the project. npm writes nothing else, but others might. */
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
 * The packages of a production install for the target, in the order of their paths.
 * @param member only what this folder of a workspace needs
 */
export function lockedPackages(lock: Lock, target: Target, member = ''): LockedPackage[] {
  const needed = member === '' ? undefined : neededBy(lock, member);
  return Object.entries(lock.packages ?? {})
    .filter(([path, { dev, link }]) => path.includes(MODULES) && dev !== true && link !== true)
    .filter(([path]) => needed?.has(path) ?? true)
    .filter(([, { os, cpu }]) => serves(os, 'linux') && serves(cpu, target.nodeArch))
    .map(([path, { version = '', resolved, hasInstallScript = false }]) => {
      return { name: nameAt(path), version, path, resolved, hasInstallScript };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const nameAt = (path: string): string => path.replace(/^.*node_modules\//, '');

/** `["linux"]`, `["!win32"]`. https://docs.npmjs.com/cli/configuring-npm/package-json#os */
function serves(list: readonly string[] | undefined, name: string): boolean {
  if (list === undefined || list.length === 0) return true;
  if (list.includes(`!${name}`)) return false;
  return list.includes(name) || list.every((one) => one.startsWith('!'));
}

/** A folder that npm links instead of installing a package. */
export interface Link {
  /** The link: `node_modules/NAME`. */
  readonly path: string;
  /** Where it leads to, relative to the project's folder: `packages/NAME`, `../NAME`. */
  readonly target: string;
}

/** The links of a production install. */
export function linksIn(lock: Lock, member = ''): Link[] {
  const needed = member === '' ? undefined : neededBy(lock, member);
  return Object.entries(lock.packages ?? {})
    .filter(([path, { link, dev }]) => link === true && dev !== true && (needed?.has(path) ?? true))
    .map(([path, { resolved = '' }]) => ({ path, target: posix.normalize(resolved) }));
}

/** The places of what a folder depends on, and of what that depends on, as Node.js finds them. */
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

/** Where Node.js looks for a package, from a folder upwards. */
export function placesOf(name: string, from: string): string[] {
  const parts = from === '' ? [] : from.split('/');
  return Array.from({ length: parts.length + 1 }, (_, up) => parts.slice(0, parts.length - up))
    .filter((folder) => folder.at(-1) !== 'node_modules')
    .map((folder) => posix.join(...folder, MODULES, name));
}

/**
 * Of the commands of a package, what a name means: a command's, or with a scope (`npx @scope/tool`) the package's.
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

/** The package whose command `npm run` finds by this name, from a folder upwards. */
export function ownerOf(lock: Lock, member: string, command: string): { name: string; dev: boolean } | undefined {
  const { packages = {} } = lock;
  for (const folder of placesOf('', member)) {
    const own = Object.keys(packages).filter((path) => path.startsWith(folder) && path === folder + nameAt(path));
    for (const path of own) {
      const { link, resolved = '', dev = false } = packages[path] ?? {};
      const { bin } = packages[link === true ? posix.normalize(resolved) : path] ?? {};
      if (commandFile(nameAt(path), bin, command) !== undefined) return { name: nameAt(path), dev };
    }
  }
  return undefined;
}
