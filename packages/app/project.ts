/**
 * The inputs of an installation: the lock file, the deciding fields of package.json (of the project and of each linked
 * package), the settings of `.npmrc`, and the files that the lock names. npm gets a copy of only these, and they form
 * the key. So editing the application does not install anything again.
 */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, posix, relative, resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import type { Rules } from './allow.js';
import { foreignLock, NPM, type Installer } from './installers.js';
import { linksIn, readLock, type Link, type Lock, type LockFile } from './lock.js';
import { readManifest, type PackageJson } from './manifest.js';
import { readNpmrc, type Npmrc } from './npmrc.js';
import { packedFiles, type Packed } from './packed.js';
import type { Settings } from './settings.js';

export interface Project {
  /** The folder with the lock file: the application's, or the root of its workspace. */
  readonly root: string;
  /** The application's folder relative to the root; `''` for the root itself. */
  readonly member: string;
  readonly installer: Installer;
  readonly lockFile: string;
  /** The parsed lock; empty if it is not npm's. */
  readonly lock: Lock;
  /** The scripts of the root. Together with `allowScripts` they decide what may run. */
  readonly scripts: Readonly<Record<string, string>>;
  readonly allowScripts: Rules;
  /** The deciding fields of package.json, by folder relative to the root. */
  readonly manifests: Readonly<Record<string, PackageJson>>;
  readonly npmrc: Npmrc;
  /** Targets of `file:` dependencies that npm copies, relative to the root. */
  readonly copied: readonly string[];
  readonly links: readonly LinkedPackage[];
}

/** A package that npm links: a workspace, or `file:../folder`. */
export interface LinkedPackage extends Link {
  readonly dir: string;
  readonly manifest: PackageJson;
  readonly packed: Packed;
  /** The package is outside the root. The image has it at the place of the link. */
  readonly outside: boolean;
  /** The dependencies of an outside package, which the root's lock does not contain. */
  readonly project: Project | undefined;
}

/** The place of a linked package's files in the image, relative to the root. */
export const placeOf = ({ outside, path, target }: LinkedPackage): string => (outside ? path : target);

/** Fields that decide what npm installs. Other fields (scripts, version) may change without a new installation. */
const RELEVANT_FIELDS = [
  ...['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies', 'peerDependenciesMeta'],
  ...[
    'overrides',
    'resolutions',
    'pnpm',
    'bundleDependencies',
    'bundledDependencies',
    'workspaces',
    'engines',
    'os',
    'cpu',
    'libc',
  ],
] as const;
/** Fields that npm checks for a link. */
const LINK_FIELDS = [...RELEVANT_FIELDS, 'name', 'version', 'bin'] as const;

export interface ReadOptions {
  /** Makes the lock file of a folder that needs one and has none. */
  readonly makeLock?: ((dir: string) => Promise<void>) | undefined;
  /** Settings that replace those of package.json. They are checked already. */
  readonly settings?: Settings | undefined;
}

/**
 * Reads a project.
 * @param ancestors the folders that link to this one, outermost first
 * @returns undefined if there is nothing to install
 * @throws UsageError if the versions of the dependencies are not fixed
 */
export async function readProject(
  dir: string,
  manifest: PackageJson,
  options: ReadOptions = {},
  ancestors: readonly string[] = [],
): Promise<Project | undefined> {
  let found = await findLock(dir);
  if (!found && needsInstall(manifest)) {
    await options.makeLock?.(dir);
    found = options.makeLock && (await findLock(dir));
    if (!found) throw missingLockError(dir);
  }
  if (!found) return undefined;
  const { root, path, lock, installer } = found;
  const member = relative(root, dir);
  const links = linksIn(lock, member).filter(({ target }) => target !== member);
  const rootManifest = root === dir ? manifest : await readManifest(root);
  return {
    root,
    member,
    installer,
    lockFile: path,
    lock,
    scripts: rootManifest.scripts ?? {},
    allowScripts: rootManifest.allowScripts ?? {},
    manifests: await relevantManifests(root, rootManifest, lock),
    npmrc: await readNpmrc(root),
    copied: copiedFiles(root, rootManifest, lock),
    links: await Promise.all(links.map((link) => linkedPackage(root, link, options, [...ancestors, dir]))),
  };
}

type FoundLock = LockFile & Pick<Project, 'root' | 'installer'>;

async function findLock(dir: string): Promise<FoundLock | undefined> {
  const ownLock = await readLock(dir);
  if (ownLock) return { root: dir, installer: NPM, ...ownLock };
  const workspace = await enclosingWorkspace(dir);
  if (workspace) return { installer: NPM, ...workspace };
  const foreign = foreignLock(dir);
  return foreign && 'installer' in foreign
    ? { root: dir, installer: foreign.installer, path: foreign.lockFile, lock: {} }
    : undefined;
}

/** @returns the nearest ancestor folder whose lock lists this folder as a workspace */
async function enclosingWorkspace(dir: string): Promise<(LockFile & { root: string }) | undefined> {
  for (let root = dirname(dir); root !== dirname(root); root = dirname(root)) {
    if (!existsSync(join(root, 'package.json'))) continue;
    const found = await readLock(root);
    if (found && linksIn(found.lock).some(({ target }) => target === relative(root, dir))) return { root, ...found };
  }
  return undefined;
}

function needsInstall(manifest: PackageJson): boolean {
  const { dependencies, optionalDependencies, peerDependencies, workspaces } = manifest;
  const optional = (manifest as { peerDependenciesMeta?: Record<string, { optional?: boolean }> }).peerDependenciesMeta;
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => optional?.[name]?.optional !== true);
  return (
    workspaces !== undefined || Object.keys({ ...dependencies, ...optionalDependencies }).length + peers.length > 0
  );
}

function missingLockError(dir: string): UsageError {
  const foreign = foreignLock(dir);
  const copyHint =
    'take node_modules as it is with "nodeos": {"modules": "copy"} in package.json (also that of a folder that ' +
    '`pnpm deploy` or the like has made)';
  if (foreign && 'refusal' in foreign)
    return new UsageError(`${dir} has dependencies and ${basename(foreign.lockFile)}, but ${foreign.refusal}`, {
      hint: `make npm's lock with --lock, which may choose other versions; or ${copyHint}`,
    });
  return new UsageError(`${dir} has dependencies but no package-lock.json, so what they are is left open`, {
    hint:
      `make one with --lock, or run \`npm install\` in ${dir}: it fixes their versions, and is to be kept with the source` +
      (existsSync(join(dir, 'node_modules')) ? `; or ${copyHint}` : ''),
  });
}

async function relevantManifests(
  root: string,
  manifest: PackageJson,
  lock: Lock,
): Promise<Record<string, PackageJson>> {
  const targets = [...new Set(linksIn({ packages: withDevelopment(lock) }).map(({ target }) => target))].sort();
  const linked = targets.map(async (target) => {
    const dir = join(root, target);
    if (!existsSync(join(dir, 'package.json')))
      throw new UsageError(`${root}: the lock file names the package ${target}, which is not there`);
    return [target, pickFields(await readManifest(dir), LINK_FIELDS, dir)] as const;
  });
  const rootFields = { name: 'app', version: '0.0.0', ...pickFields(manifest, RELEVANT_FIELDS, root) };
  return Object.fromEntries([['', rootFields] as const, ...(await Promise.all(linked))]);
}

/** npm checks every link, even those that it will not make. */
const withDevelopment = ({ packages = {} }: Lock): NonNullable<Lock['packages']> =>
  Object.fromEntries(Object.entries(packages).map(([path, entry]) => [path, { ...entry, dev: false }]));

/** Absolute paths would depend on this machine. npm's lock also stores relative paths. */
function pickFields(manifest: PackageJson, names: readonly string[], dir: string): PackageJson {
  const fields = Object.entries(manifest).filter(([name]) => names.includes(name));
  return Object.fromEntries(
    fields.map(([name, value]) => [name, /ependencies$/.test(name) ? withRelativePaths(value, dir) : value]),
  );
}

function withRelativePaths(dependencies: unknown, dir: string): unknown {
  if (typeof dependencies !== 'object' || dependencies === null || Array.isArray(dependencies)) return dependencies;
  return Object.fromEntries(
    Object.entries(dependencies).map(([name, spec]: [string, unknown]) => {
      const path = typeof spec === 'string' ? /^file:(\/.*)$/.exec(spec)?.[1] : undefined;
      return [name, path === undefined ? spec : `file:${relative(dir, path)}`];
    }),
  );
}

/** Tarballs, and with `install-links` also folders. For a lock of version 1, only package.json names them. */
function copiedFiles(root: string, manifest: PackageJson, lock: Lock): string[] {
  const specs = Object.values({ ...manifest.dependencies, ...manifest.optionalDependencies });
  const named = lock.packages ? Object.values(lock.packages).map(({ resolved = '' }) => resolved) : specs;
  const paths = named
    .filter((place) => typeof place === 'string' && place.startsWith('file:'))
    .map((place) => place.slice('file:'.length))
    .map((path) => posix.normalize(isAbsolute(path) ? relative(root, path) : path));
  for (const path of paths) {
    if (!existsSync(join(root, path))) throw new UsageError(`${root}: the lock file names ${path}, which is not there`);
  }
  return [...new Set(paths)].sort();
}

async function linkedPackage(
  root: string,
  link: Link,
  options: ReadOptions,
  ancestors: readonly string[],
): Promise<LinkedPackage> {
  const dir = resolve(root, link.target);
  const outside = link.target.startsWith('..');
  const manifest = await readManifest(dir);
  if (outside && ancestors.includes(dir))
    throw new UsageError(`${[...ancestors, dir].join(' → ')}: folders that link to each other cannot be copied`);
  return {
    ...link,
    dir,
    manifest,
    outside,
    packed: await packedFiles(dir, manifest, outside ? dir : root),
    project: outside ? await readProject(dir, manifest, options, ancestors) : undefined,
  };
}

/** The files that npm copies. For a folder, these are the files that it would pack. */
export async function listCopiedFiles({ root, copied }: Project): Promise<string[]> {
  const files = copied.map(async (path) => {
    if (!statSync(join(root, path)).isDirectory()) return [path];
    const { files } = await packedFiles(join(root, path), await readManifest(join(root, path)));
    return files.map((file) => posix.join(path, file));
  });
  return (await Promise.all(files)).flat();
}
