/**
 * Selects the files of a package for the image: the files that npm would pack, and symbolic links among them, which npm
 * leaves out. https://docs.npmjs.com/cli/using-npm/developers#keeping-files-out-of-your-package
 */
import { existsSync } from 'node:fs';
import { readdir, readlink } from 'node:fs/promises';
import { join, posix, relative } from 'node:path';
import packlist, { type PackageNode, type Visit } from 'npm-packlist';
import { codeOf, UsageError } from '@nodeos/base';
import type { PackageJson } from './manifest.js';

export interface Packed {
  /** Paths relative to the folder, sorted. */
  readonly files: readonly string[];
  /** The targets of symbolic links, by path. */
  readonly links: Readonly<Record<string, string>>;
  /** Messages for the user about files that are left out. */
  readonly leftOut: readonly string[];
}

/** A node of npm's tree, plus the entries other than files that the walk finds. */
interface Node extends PackageNode {
  readonly links: string[];
  readonly unsupported: string[];
}

/** npm's walk. It also records the entries that npm silently skips. */
class Walker extends packlist.Walker {
  declare readonly tree: Node;

  override onstat(visit: Visit, done: () => void): unknown {
    const { st, entry, file } = visit;
    const list = st.isSymbolicLink() ? this.tree.links : this.tree.unsupported;
    if (file && !st.isFile() && !st.isDirectory()) list.push(this.#place(entry));
    return super.onstat(visit, done);
  }

  override stat(visit: Pick<Visit, 'entry' | 'file'>, done: () => void): unknown {
    if (visit.entry.includes('*')) this.tree.unsupported.push(this.#place(visit.entry));
    return super.stat(visit, done);
  }

  override walker(entry: string, options: object, done: () => void): void {
    new Walker(this.tree, this.walkerOpt(entry, options)).on('done', done).start();
  }

  #place(entry: string): string {
    return relative(this.root, join(this.path, entry));
  }
}

/**
 * Lists the files of a package.
 * @param root the root of the workspace that the folder belongs to; its ignore files count too
 * @throws UsageError for a file whose name is not UTF-8
 */
export async function packedFiles(dir: string, manifest: PackageJson, root = dir): Promise<Packed> {
  const node = { path: dir, package: manifest, isProjectRoot: true, edgesOut: new Map(), links: [], unsupported: [] };
  const workspace = root === dir ? {} : { prefix: root, workspaces: [dir] };
  const listed = await walk(node, workspace).catch(async (error: unknown) => {
    const name = codeOf(error) === 'ENOENT' ? await unreadableName(dir) : undefined;
    if (name === undefined) throw error;
    throw new UsageError(`${dir}: the name of ${name} is not UTF-8`, {
      hint: 'rename the file, or name it in .npmignore',
    });
  });
  // npm lists a name that begins with @ as ./@name.
  const files = listed.map((path) => posix.normalize(path)).filter((path) => posix.basename(path) !== '.npmrc');
  const { links, broken } = await resolveLinks(dir, node.links, files);
  const leftOut = [
    ...(await loneMainWarning(dir, manifest, files)),
    ...(broken.length === 0 ? [] : [`symbolic links are left out: ${broken.join(', ')}`]),
    ...(node.unsupported.length === 0
      ? []
      : [`npm packs no such files, they are left out: ${node.unsupported.sort().join(', ')}`]),
  ];
  return { files: files.sort(), links, leftOut };
}

const MAX_LINKS = 40; // the limit of Linux

/** Whether a path leads to a packed file, directly or through links. */
export const isPacked =
  ({ files, links }: Pick<Packed, 'files' | 'links'>) =>
  (path: string): boolean => {
    let current = '';
    for (const part of posix.normalize(path).split('/')) {
      current = posix.join(current, part);
      for (let hops = 0; Object.hasOwn(links, current) && hops < MAX_LINKS; hops++)
        current = posix.join(posix.dirname(current), links[current] ?? '');
    }
    return files.includes(current);
  };

/** npm packs `main` even if its folder is ignored, which is common for compiled output. */
async function loneMainWarning(dir: string, manifest: PackageJson, files: readonly string[]): Promise<string[]> {
  const main = posix.normalize(manifest.main ?? '.');
  const folder = posix.dirname(main);
  if (folder === '.' || !files.includes(main) || excludedBy(dir, manifest) !== '.gitignore') return [];
  const siblings = await readdir(join(dir, folder));
  if (siblings.length === 1 || files.some((path) => path !== main && path.startsWith(`${folder}/`))) return [];
  return [`of ${folder} only ${main} is packed, .gitignore leaves out the rest; "files": ["${folder}"] takes it in`];
}

const walk = (node: Node, options: object): Promise<string[]> =>
  new Promise((resolve, reject) => {
    new Walker(node, { ...options, isPackage: true }).on('done', resolve).on('error', reject).start();
  });

/** A link is kept if its target is packed. */
async function resolveLinks(
  dir: string,
  paths: readonly string[],
  files: readonly string[],
): Promise<{ links: Record<string, string>; broken: string[] }> {
  const targets = await Promise.all(
    [...paths].sort().map(async (path) => [path, await readlink(join(dir, path))] as const),
  );
  const isThere = (path: string): boolean =>
    path === '.' || files.some((file) => file === path || file.startsWith(`${path}/`)) || paths.includes(path);
  const staysInside = ([path, target]: readonly [string, string]): boolean =>
    !target.startsWith('/') && isThere(posix.join(posix.dirname(path), target).replace(/\/$/, ''));
  return {
    links: Object.fromEntries(targets.filter(staysInside)),
    broken: targets
      .filter((link) => !staysInside(link))
      .map(([path, target]) => `${path} → ${target} (which is not among what is packed)`),
  };
}

/** The first name below a folder that is not UTF-8, with its bytes escaped. */
async function unreadableName(dir: string, folder = ''): Promise<string | undefined> {
  const names = await readdir(join(dir, folder), { encoding: 'buffer', withFileTypes: true });
  for (const entry of names) {
    const name = entry.name.toString('utf8');
    const escaped = entry.name.toString('latin1').replace(/[^ -~]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
    if (!Buffer.from(name).equals(entry.name)) return posix.join(folder, escaped);
    if (!entry.isDirectory() || ['node_modules', '.git'].includes(name)) continue;
    const found = await unreadableName(dir, posix.join(folder, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What keeps an existing file out of the package. The first of these alone decides. */
export function excludedBy(dir: string, manifest: PackageJson): string {
  if (manifest.files) return '`files` of package.json';
  return existsSync(join(dir, '.npmignore')) ? '.npmignore' : '.gitignore';
}
