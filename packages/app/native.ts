/**
 * Compiles native code of an application and its dependencies for the target. It runs node-gyp the way npm does for the
 * host, but with the target's compiler and the runtime's own headers. https://github.com/nodejs/node-gyp,
 * https://docs.npmjs.com/cli/commands/npm-rebuild
 *
 *     files/     the compiled files, at their places in the application's folder
 */
import { cp, lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from '@nodeos/base';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import type { Application } from './application.js';
import { isHostBuild } from './app-files.js';
import { ruleFor } from './allow.js';
import { lockedPackages } from './lock.js';
import { runNpm } from './npm.js';

const COPY = { recursive: true, verbatimSymlinks: true, preserveTimestamps: true };

export interface NativeTools {
  /** Provides the headers. */
  readonly runtime: Step;
  readonly compiler: Compiler;
}

/**
 * A step that runs the install scripts that `allowScripts` in package.json allows. This includes node-gyp, because its
 * input files can start programs. Undefined if no script may run.
 */
export function nativeModules(target: Target, app: Application, modules: Step, tools: NativeTools): Step | undefined {
  const { lock = {}, member = '', allowScripts = {}, manifests = {} } = app.project ?? {};
  const chosen = lockedPackages(lock, target, member)
    .filter((pkg) => ruleFor(allowScripts, pkg) === true)
    .map(({ name, version, path }) => ({ name, version, path }));
  if (chosen.length === 0) return undefined;
  return {
    name: 'app-native',
    target,
    recipe: import.meta.url,
    parameters: { chosen, manifests },
    inputs: { modules, runtime: tools.runtime, ...tools.compiler.inputs },
    tools: ['npm', 'make', ...tools.compiler.tools],
    isLocal: tools.compiler.tools.length > 0,
    async build(context) {
      const folder = join(context.work, 'app');
      await cp(join(context.input('modules'), 'files'), folder, COPY);
      // Optional dependencies may be missing.
      const isPresent = await Promise.all(chosen.map(({ path }) => exists(join(folder, path))));
      const packages = chosen.filter((_, at) => isPresent[at]);
      await mkdir(join(context.dir, 'files'));
      if (packages.length === 0) return;
      for (const [path, manifest] of Object.entries(manifests).filter(([path]) => !path.startsWith('..'))) {
        await mkdir(join(folder, path), { recursive: true });
        await writeFile(join(folder, path, 'package.json'), JSON.stringify(manifest));
      }
      const before = await timesOf(folder);
      context.progress(`compiling ${packages.map(({ name, version }) => `${name}@${version}`).join(', ')}`);
      // Packages are named by place, because another package could have the same name and version.
      const places = packages.map(({ path }) => `./${path}`);
      await runNpm(context, ['rebuild', '--foreground-scripts', ...places], {
        environment: 'clean',
        ...optionsOf(context, tools, folder),
      });
      await collect(context, tools, folder, before);
    },
  };
}

/** A step that compiles the application's own addon; undefined if it has none. */
export function nativeAddon(
  target: Target,
  app: Application,
  modules: Step | undefined,
  tools: NativeTools,
): Step | undefined {
  if (!app.packed.files.includes('binding.gyp')) return undefined;
  const files = app.packed.files.filter((path) => !isHostBuild(app, path));
  return {
    name: 'app-addon',
    target,
    recipe: import.meta.url,
    files: Object.fromEntries(files.map((path) => [path, join(app.dir, path)])),
    inputs: { ...(modules ? { modules } : {}), runtime: tools.runtime, ...tools.compiler.inputs },
    tools: ['npm', 'make', ...tools.compiler.tools],
    isLocal: tools.compiler.tools.length > 0,
    async build(context) {
      const root = join(context.work, 'app');
      const member = app.project?.member ?? '';
      const folder = join(root, member);
      for (const path of files) {
        await mkdir(join(folder, dirname(path)), { recursive: true });
        await cp(context.file(path), join(folder, path), { preserveTimestamps: true });
      }
      for (const place of modules ? new Set(['', member]) : []) {
        const installed = join(context.input('modules'), 'files', place, 'node_modules');
        if (await exists(installed)) await symlink(installed, join(root, place, 'node_modules'));
      }
      const before = await timesOf(root);
      context.progress(`compiling the addon of ${app.name}`);
      const script = app.manifest.scripts?.['install'] ?? 'node-gyp rebuild';
      // npm provides node-gyp to the programs that it runs.
      await context.run('npm', ['exec', '--loglevel=error', `--call=${script}`], optionsOf(context, tools, folder));
      await collect(context, tools, root, before);
    },
  };
}

function optionsOf(context: StepContext, { compiler }: NativeTools, cwd: string): Parameters<StepContext['run']>[2] {
  const options = compiler.options(context);
  const hidden = [context.work, ...Object.keys(compiler.inputs).map((name) => context.input(name))];
  const flags = ['-g0', ...hidden.map((folder) => `-ffile-prefix-map=${folder}=.`)].join(' ');
  return {
    ...options,
    cwd,
    env: {
      ...options.env,
      CFLAGS: flags,
      CXXFLAGS: flags,
      JOBS: String(context.jobs),
      npm_config_nodedir: context.input('runtime'),
      // Never use a prebuilt binary of unknown origin.
      npm_config_build_from_source: 'true',
    },
  };
}

/** The files below a folder, with their modification times in milliseconds. */
async function timesOf(folder: string): Promise<Map<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const times = await Promise.all(paths.map(async (path) => (await lstat(path)).mtimeMs));
  return new Map(paths.map((path, index) => [path.slice(folder.length + 1), times[index] ?? 0]));
}

/**
 * Whether a file belongs in the image. Of node-gyp's build folder, only loadable files do. The rest is object files and
 * makefiles with paths of this machine.
 */
const isResult = (path: string): boolean =>
  !/(^|\/)build\//.test(path) || (/\.(node|wasm|so[.\d]*)$/.test(path) && !path.includes('/obj.target/'));

async function collect(
  context: StepContext,
  { compiler }: NativeTools,
  folder: string,
  before: ReadonlyMap<string, number>,
): Promise<void> {
  const results = [...(await timesOf(folder))].filter(([path, time]) => before.get(path) !== time && isResult(path));
  await mkdir(join(context.dir, 'files'), { recursive: true });
  for (const [path] of results) {
    const to = join(context.dir, 'files', path);
    await mkdir(dirname(to), { recursive: true });
    await cp(join(folder, path), to);
    if (path.endsWith('.node')) {
      await context.run(`${compiler.prefix}strip`, ['--strip-unneeded', to], compiler.options(context));
    }
  }
}
