/**
 * Installs dependencies with npm, or with the program that the lock file belongs to. Each project has its own step:
 *
 *     app-modules   files/    node_modules of the application and its workspaces, at their places in the project
 *
 * A linked folder outside the project is put where its link would be.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import { isFromGit, ruleFor, type Rules } from './allow.js';
import type { Libc } from './installers.js';
import { lockedPackages, type LockedPackage } from './lock.js';
import type { PackageJson } from './manifest.js';
import { runNpm } from './npm.js';
import { applyPatches, patchesOf } from './patches.js';
import { listCopiedFiles, type Project } from './project.js';

/**
 * The steps that install a project and the projects that it links to.
 * @param rules the application's rules about whose code may run
 * @param place the project's place in the application's folder
 */
export async function modulesSteps(
  target: Target,
  project: Project,
  rules: Rules,
  libc: Libc,
  place = '',
): Promise<Step[]> {
  const { manifests, npmrc, member, installer } = project;
  const copied = await listCopiedFiles(project);
  const patches = await patchesOf(project);
  const prepared = lockedPackages(project.lock, target, member)
    .filter((pkg) => isFromGit(pkg) && ruleFor(rules, pkg) === true)
    .map(({ path, resolved = '' }) => ({ path, resolved }));
  const installerFiles = installer.files.filter((path) => existsSync(join(project.root, path)));
  const inputFiles = [...copied, ...installerFiles, ...(patches?.files ?? [])];
  const step: Step = {
    name: ['app-modules', ...place.split('/').filter((part) => part !== '' && part !== 'node_modules')]
      .join('-')
      .replace(/[^\w-]/g, ''),
    target,
    recipe: import.meta.url,
    parameters: { installer: installer.program, manifests, member, place, prepared, patches, npmrc: npmrc.kept, libc },
    files: {
      lock: project.lockFile,
      ...Object.fromEntries(inputFiles.map((path) => [path, join(project.root, path)])),
    },
    tools: [installer.program],
    async build(context) {
      const root = await layOut(context, project, inputFiles);
      await installer.install(context, { root, member, target, libc, settings: npmrc.personal });
      for (const pkg of prepared) await prepare(context, project, root, pkg);
      if (patches) await applyPatches(context, patches, root);
      await collect(context, project, root, place);
    },
  };
  const linked: Step[] = [];
  for (const { project: linkedProject, path } of project.links) {
    if (linkedProject)
      linked.push(...(await modulesSteps(target, linkedProject, rules, libc, posix.join(place, path))));
  }
  return [step, ...linked];
}

/** Copies the inputs of the installation, including files outside the project's root. @returns the root */
async function layOut(context: StepContext, project: Project, files: readonly string[]): Promise<string> {
  const levels = [...Object.keys(project.manifests), ...files].map((path) => path.split('/').lastIndexOf('..') + 1);
  const root = join(context.work, ...Array.from({ length: Math.max(...levels) }, () => 'above'), 'nodeos-project');
  const write = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  for (const [folder, manifest] of Object.entries(project.manifests)) {
    await write(join(folder, 'package.json'), JSON.stringify(manifest));
    // npm links the commands of a linked package only if their files exist.
    for (const file of commandsOf(manifest)) await write(join(folder, file), '');
  }
  for (const path of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await cp(context.file(path), join(root, path), { recursive: true });
  }
  await cp(context.file('lock'), join(root, posix.basename(project.lockFile)));
  await write('.npmrc', project.npmrc.kept);
  return root;
}

const commandsOf = ({ bin = {} }: PackageJson): string[] =>
  (typeof bin === 'string' ? [bin] : Object.values(bin)).filter((path) => !posix.normalize(path).startsWith('..'));

/** Prepares a package from git the way its author would publish it. npm clones it again and runs its build scripts. */
async function prepare(
  context: StepContext,
  { npmrc }: Project,
  root: string,
  { path, resolved }: Pick<LockedPackage, 'path'> & { resolved: string },
): Promise<void> {
  const folder = join(root, path);
  if (!existsSync(folder)) return;
  context.progress(`preparing ${resolved}`);
  const to = join(context.work, 'packed');
  await mkdir(to);
  const args = ['pack', resolved, `--pack-destination=${to}`, '--ignore-scripts=false', '--foreground-scripts'];
  await runNpm(context, args, { cwd: root, settings: npmrc.personal });
  const [tarball = ''] = await readdir(to);
  for (const name of await readdir(folder)) {
    if (name !== 'node_modules') await rm(join(folder, name), { recursive: true });
  }
  await context.run('tar', ['-xf', join(to, tarball), '-C', folder, '--strip-components=1', '--no-same-owner']);
  await rm(to, { recursive: true });
}

/** Moves the installed packages to their places in the image. */
async function collect(context: StepContext, project: Project, root: string, place: string): Promise<void> {
  const files = join(context.dir, 'files', place);
  await mkdir(join(context.dir, 'files'), { recursive: true });
  const innerFolders = Object.keys(project.manifests).filter((folder) => !folder.startsWith('..'));
  for (const folder of innerFolders) {
    if (!existsSync(join(root, folder, 'node_modules'))) continue;
    await mkdir(join(files, folder), { recursive: true });
    await rename(join(root, folder, 'node_modules'), join(files, folder, 'node_modules'));
  }
  for (const { path, outside } of project.links) {
    if (outside) await rm(join(files, path), { force: true });
  }
}
