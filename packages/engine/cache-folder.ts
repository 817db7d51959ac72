/**
 * Decides which paths in a folder belong to the cache. Every removal asks here first. Symbolic links are not followed.
 * Unknown names and other users' files stay and are reported. The root must be a cache folder: it has our CACHEDIR.TAG
 * (https://bford.info/cachedir/), or, for a cache older than the tag, it contains only names of ours.
 */
import { lstat, mkdir, readdir, readFile, realpath, rmdir, stat, writeFile } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf, NodeosError, replaceFile } from '@nodeos/base';

const NAME = /^[A-Za-z0-9-]+$/;

/** The cache's folders. Each has one name pattern per level below it. */
const LAYOUT = {
  steps: [NAME, /^\w+$/, /^[0-9a-f]{64}$/],
  tmp: [/^[A-Za-z0-9-]+-[0-9a-f]{32}-[A-Za-z0-9]{6}$/],
  logs: [/^[A-Za-z0-9-]+-\w+-[0-9a-f]{12}\.log$/],
  sources: [/^sha(?:256|512)-[0-9a-f]{64}(?:\.part)?$/],
  apt: [/^[0-9a-f]{12}$/],
  locks: [/^[A-Za-z0-9-]+-[0-9a-f]{32}$/],
  /** Of packages/oci: blobs of container images, and what is made of them. */
  images: [/^(?:blobs|unpacked|erofs|partial)$/, /^sha(?:256|512)$/, /^[0-9a-f]{64,128}(?:\.\d+\.[0-9a-f]{12})?$/],
} as const;
export type Part = keyof typeof LAYOUT;

const TAG = 'CACHEDIR.TAG';
/** The signature that other programs look for. The second line tells our caches from theirs. */
const SIGNATURE = 'Signature: 8a477f597d28d172789f06886806bc55\n# The cache of nodeos.';
const TAG_TEXT = `${SIGNATURE} Backups can leave it out: https://bford.info/cachedir/\n`;

/** Files next to those folders, including leftovers of an interrupted write. */
const FILE =
  /^(?:CACHEDIR\.TAG|accelerator\.json(?:\.\d+)?|node-versions\.json|\.(?:CACHEDIR\.TAG|accelerator\.json|node-versions\.json)\.[A-Za-z0-9]{6})$/;

export interface OwnedEntry {
  readonly path: string;
  /** The names below the part's folder: `NAME/TARGET/KEY` has three. */
  readonly names: readonly string[];
}

/** A path that is never removed, and the reason. */
export interface Skipped {
  readonly path: string;
  readonly reason: string;
}

export interface OwnedList {
  readonly owned: readonly OwnedEntry[];
  readonly skipped: readonly Skipped[];
  /** The folders that contain these paths. A folder comes before its contents. */
  readonly folders: readonly string[];
}

export async function listOwned(root: string, part: Part): Promise<OwnedList> {
  const skipped: Skipped[] = [];
  const folders: string[] = [];
  const filterOwned = async (items: readonly OwnedEntry[], isFolder: boolean): Promise<OwnedEntry[]> => {
    const checked = await Promise.all(
      items.map(async (item) => [item, await ownershipProblem(item.path, isFolder)] as const),
    );
    for (const [{ path }, reason] of checked) if (reason !== undefined && reason !== '') skipped.push({ path, reason });
    return checked.filter(([, reason]) => reason === undefined).map(([item]) => item);
  };
  let items: OwnedEntry[] = [{ path: join(root, part), names: [] }];
  for (const pattern of LAYOUT[part]) {
    const parents = await filterOwned(items, true);
    items = [];
    for (const { path, names } of parents) {
      folders.push(path);
      for (const name of await namesIn(path)) {
        const item = { path: join(path, name), names: [...names, name] };
        if (pattern.test(name)) items.push(item);
        else skipped.push({ path: item.path, reason: 'it is not of the cache' });
      }
    }
  }
  return { owned: await filterOwned(items, false), skipped, folders };
}

/** Why a path must stay. Empty if it does not exist; undefined if it may be removed. */
async function ownershipProblem(path: string, isFolder: boolean): Promise<string | undefined> {
  const info = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (info === undefined) return '';
  if (info.isSymbolicLink()) return 'it is a symbolic link';
  if (isFolder && !info.isDirectory()) return 'it is no folder';
  return isOurs(info) ? undefined : `it belongs to user ${info.uid}`;
}

/** Applies to root too: in another user's folder, names can change between the check and the removal. */
const isOurs = ({ uid }: Stats): boolean => uid === (process.geteuid?.() ?? uid);

/** Removes the empty ones of these folders, innermost first. */
export async function removeEmpty(folders: readonly string[]): Promise<void> {
  for (const path of [...folders].reverse())
    await rmdir(path).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'ENOENT') throw error;
    });
}

/**
 * Creates the cache's root folder, and tags it if it holds nothing foreign.
 * @throws NodeosError if the folder is `/` or the home folder
 */
export async function makeCacheFolder(root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  await refuseSystemFolders(root);
  if ((await hasTag(root)) || (await foreignNames(root)).length > 0) return;
  // If only the subfolders are writable, the root stays untagged. That is safe: it contains nothing else.
  await replaceFile(join(root, TAG), (path) => writeFile(path, TAG_TEXT)).catch(() => undefined);
}

/**
 * Checks the root before anything is removed from it.
 * @throws NodeosError if the folder is not known to be a cache, or belongs to another user
 */
export async function checkCacheFolder(root: string): Promise<void> {
  const info = await stat(root).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (info === undefined) return;
  await refuseSystemFolders(root);
  const foreign = (await hasTag(root)) ? [] : await foreignNames(root);
  if (foreign.length > 0)
    throw new NodeosError(`${root} is not known to be a cache: it has no ${TAG} of nodeos, but ${summary(foreign)}`, {
      hint: 'nothing is removed; if it is one, move what is not of the cache out of it, and try again',
    });
  if (!isOurs(info))
    throw new NodeosError(`${root} belongs to user ${info.uid}, and this is user ${process.geteuid?.() ?? ''}`, {
      hint: 'nothing is removed; run the command as the owner of the cache',
    });
}

/** A wrong environment variable must not fill or empty the wrong folder. */
async function refuseSystemFolders(root: string): Promise<void> {
  const [path, home] = [await realpath(root), await realpath(homedir()).catch(() => homedir())];
  if (path !== '/' && path !== home) return;
  throw new NodeosError(`${root} cannot be the cache: it is ${path === '/' ? 'the root folder' : 'the home folder'}`, {
    hint: 'set NODEOS_CACHE to a folder for nothing else',
  });
}

async function hasTag(root: string): Promise<boolean> {
  const path = join(root, TAG);
  const info = await lstat(path).catch(() => undefined);
  if (!info?.isFile() || info.size > 4096) return false;
  return (await readFile(path, 'utf8')).startsWith(SIGNATURE);
}

/** The foreign names in the folder, including another program's tag. */
async function foreignNames(root: string): Promise<string[]> {
  const names = await namesIn(root);
  const unknownNames = names.filter((name) => !Object.hasOwn(LAYOUT, name) && !FILE.test(name));
  return names.includes(TAG) && !(await hasTag(root)) ? [TAG, ...unknownNames] : unknownNames;
}

const summary = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');

async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
