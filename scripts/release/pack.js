/** Packs all workspaces as they are published: complete, with the names and the version of a release. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { platformPackage, stageLinuxfs } from './linuxfs.js';
import { publishedManifest } from './manifest.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/**
 * The names here and the published ones. An entry that ends in `/` is for all packages of a scope.
 * @type {Record<string, string>}
 */
export const NAMES = JSON.parse(await readFile(new URL('names.json', import.meta.url), 'utf8'));

/**
 * @typedef {object} Options
 * @property {string} into the folder of the tarballs
 * @property {string} [version] default: that of each package.json
 * @property {Record<string, string>} [names] default: NAMES
 * @property {string} [repository] the URL of the source; default: none
 * @property {readonly string[]} [linuxfs] built kernels of @nodeos/linuxfs, each of which becomes a package of its own
 */
/** @typedef {{ name: string, file: string, manifest: Record<string, unknown> }} Tarball */

/**
 * Needs compiled packages.
 * @param {Options} options
 * @returns {Promise<Tarball[]>}
 */
export async function packAll({ into, names = NAMES, linuxfs = [], ...release }) {
  await mkdir(into, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'nodeos-release-'));
  try {
    const folders = await workspaces();
    const kernels = await Promise.all(linuxfs.map(platformPackage));
    const complete = [];
    for (const [index, file] of (
      await npmPack(
        folders.map((folder) => join(ROOT, folder)),
        work,
      )
    ).entries())
      complete.push(await stage(file, folders[index], { names, kernels, ...release }));
    for (const [index, kernel] of linuxfs.entries()) {
      const staged = join(work, `linuxfs-${index}`);
      complete.push({ staged, manifest: await stageLinuxfs(kernel, staged, { names, ...release }) });
    }
    const files = await npmPack(
      complete.map(({ staged }) => staged),
      into,
    );
    return files.map((file, index) => ({
      name: complete[index].manifest.name,
      file,
      manifest: complete[index].manifest,
    }));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The folders of the workspaces, relative to the root. */
async function workspaces() {
  const { workspaces: patterns } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const folders = [];
  for (const pattern of patterns) {
    if (!pattern.endsWith('/*')) folders.push(pattern);
    else
      for (const name of await readdir(join(ROOT, pattern.slice(0, -2))))
        folders.push(join(pattern.slice(0, -2), name));
  }
  return folders.sort();
}

/** Unpacks what npm has packed of a folder, and adds the licence and the published package.json. */
async function stage(file, folder, { kernels, ...release }) {
  const staged = file.replace(/\.tgz$/, '');
  await mkdir(staged);
  await run('tar', ['-xzf', file, '-C', staged, '--strip-components=1']);
  await copyFile(join(ROOT, 'LICENSE'), join(staged, 'LICENSE'));
  const own = JSON.parse(await readFile(join(staged, 'package.json'), 'utf8'));
  const optional =
    own.name === '@nodeos/linuxfs' && kernels.length > 0
      ? { optionalDependencies: Object.fromEntries(kernels.map((name) => [name, own.version])) }
      : {};
  const manifest = publishedManifest({ ...own, ...optional }, folder, release);
  await writeFile(join(staged, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  return { staged, manifest };
}

/** @returns the paths of the tarballs, in the order of the folders */
async function npmPack(folders, into) {
  const args = ['pack', ...folders, '--json', '--ignore-scripts', '--pack-destination', into];
  const { stdout } = await run('npm', args, { cwd: tmpdir(), maxBuffer: 64 << 20 });
  return JSON.parse(stdout).map(({ filename }) => join(into, filename));
}
