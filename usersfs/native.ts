/**
 * Native code of an application and of its dependencies, compiled for the target by node-gyp, as npm would do it for the
 * host: with the target's compiler, and with the headers of the runtime instead of downloaded ones.
 * https://github.com/nodejs/node-gyp, https://docs.npmjs.com/cli/commands/npm-rebuild
 *
 *     files/     what was made, in the places that it has in the application's folder
 */
import { cp, lstat, mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Step, StepContext, Target } from '@nodeos/build';
import type { Compiler } from '@nodeos/toolchain';
import type { Application } from './application.js';
import { isHostBuild } from './build.js';
import { lockedPackages, ruleFor, type LockedPackage } from './lock.js';

export interface NativeTools {
  /** Has the headers. */
  readonly runtime: Step;
  readonly compiler: Compiler;
}

/** A step that compiles the dependencies that need it; undefined if, by the lock file, none does. */
export function nativeModules(target: Target, app: Application, modules: Step, tools: NativeTools): Step | undefined {
  const packages = lockedPackages(app.lock ?? {}, target).filter((one) => one.hasInstallScript);
  const rules = app.manifest.allowScripts ?? {};
  if (packages.length === 0) return undefined;
  return {
    name: 'app-native',
    target,
    recipe: import.meta.url,
    parameters: { packages, rules },
    inputs: { modules, runtime: tools.runtime, ...tools.compiler.inputs },
    tools: ['npm', 'make', ...tools.compiler.tools],
    async build(context) {
      const chosen: LockedPackage[] = [];
      for (const one of packages) if (await isWanted(context.input('modules'), one, rules)) chosen.push(one);
      await mkdir(join(context.dir, 'files'));
      if (chosen.length === 0) return;
      const app = join(context.work, 'app');
      await cp(context.input('modules'), app, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
      const before = await timesOf(app);
      const names = chosen.map(({ name, version }) => `${name}@${version}`);
      context.progress(`compiling ${names.join(', ')}`);
      const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
      await context.run('npm', ['rebuild', '--foreground-scripts', ...quiet, ...names], optionsOf(context, tools, app));
      await collect(context, tools, app, before);
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
  if (!app.files.includes('binding.gyp')) return undefined;
  const files = app.files.filter((path) => !isHostBuild(app, path));
  return {
    name: 'app-addon',
    target,
    recipe: import.meta.url,
    files: Object.fromEntries(files.map((path) => [path, join(app.dir, path)])),
    inputs: { ...(modules ? { modules } : {}), runtime: tools.runtime, ...tools.compiler.inputs },
    tools: ['npm', 'make', ...tools.compiler.tools],
    async build(context) {
      const folder = join(context.work, 'app');
      for (const path of files) {
        await mkdir(join(folder, dirname(path)), { recursive: true });
        await cp(context.file(path), join(folder, path), { preserveTimestamps: true });
      }
      if (modules) await symlink(join(context.input('modules'), 'node_modules'), join(folder, 'node_modules'));
      const before = await timesOf(folder);
      context.progress(`compiling the addon of ${app.name}`);
      const script = app.manifest.scripts?.['install'] ?? 'node-gyp rebuild';
      // npm brings a node-gyp for whatever it runs.
      await context.run('npm', ['exec', '--loglevel=error', `--call=${script}`], optionsOf(context, tools, folder));
      await collect(context, tools, folder, before);
    },
  };
}

/** What is compiled unless forbidden: what node-gyp compiles. Other install scripts must be allowed, as npm 11 wants it. */
async function isWanted(
  modules: string,
  one: LockedPackage,
  rules: Readonly<Record<string, boolean>>,
): Promise<boolean> {
  const isInstalled = await exists(join(modules, one.path));
  return isInstalled && (ruleFor(rules, one) ?? (await exists(join(modules, one.path, 'binding.gyp'))));
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
      // Never a binary that somebody compiled for who knows what.
      npm_config_build_from_source: 'true',
    },
  };
}

/** The files below a folder, and when they were changed. */
async function timesOf(folder: string): Promise<Map<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const times = await Promise.all(paths.map(async (path) => (await lstat(path)).mtimeMs));
  return new Map(paths.map((path, index) => [path.slice(folder.length + 1), times[index] ?? 0]));
}

/** Of node-gyp's own folder only what a program loads; the rest is objects and makefiles with paths of this machine. */
const isResult = (path: string): boolean =>
  !/(^|\/)build\//.test(path) || (/\.(node|wasm|so[.\d]*)$/.test(path) && !path.includes('/obj.target/'));

async function collect(
  context: StepContext,
  { compiler }: NativeTools,
  folder: string,
  before: ReadonlyMap<string, number>,
): Promise<void> {
  const made = [...(await timesOf(folder))].filter(([path, time]) => before.get(path) !== time && isResult(path));
  await mkdir(join(context.dir, 'files'), { recursive: true });
  for (const [path] of made) {
    const to = join(context.dir, 'files', path);
    await mkdir(dirname(to), { recursive: true });
    await cp(join(folder, path), to);
    if (path.endsWith('.node')) {
      await context.run(`${compiler.prefix}strip`, ['--strip-unneeded', to], compiler.options(context));
    }
  }
}

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;
