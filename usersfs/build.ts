/**
 * The users' layer: an application's files and its dependencies, as trees to be put into an image.
 *
 *     app-modules   node_modules, installed by `npm ci --omit=dev`; its key is the lock file, so that editing the
 *                   application installs nothing
 *     app           the application's own files, and nodeos.json for the init
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { NodeosError, UsageError, type Step, type StepContext, type Target } from '@nodeos/build';
import type { Application, PackageJson } from './application.js';

/** Where the application is on the target. */
export const APP_DIR = '/app';

/** The fields that decide what npm installs; the others (scripts, version) may change without another install. */
const DEPENDENCY_FIELDS = [
  'dependencies',
  'devDependencies',
  'optionalDependencies',
  'peerDependencies',
  'overrides',
  'bundleDependencies',
  'engines',
] as const;

/** @returns undefined for an application without dependencies. @param libc of the runtime, for packages with prebuilt binaries */
export function appModules(target: Target, app: Application, libc: 'glibc' | 'musl'): Step | undefined {
  if (!app.lock) return undefined;
  const manifest = { name: 'app', version: '0.0.0', ...pick(app.manifest, DEPENDENCY_FIELDS) };
  return {
    name: 'app-modules',
    target,
    recipe: import.meta.url,
    parameters: { manifest, libc },
    files: { lock: join(app.dir, 'package-lock.json') },
    tools: ['npm'],
    async build(context) {
      await writeFile(join(context.dir, 'package.json'), JSON.stringify(manifest));
      await cp(context.file('lock'), join(context.dir, 'package-lock.json'));
      await mkdir(join(context.dir, 'node_modules'));
      const platform = ['--os=linux', `--cpu=${target.nodeArch}`, `--libc=${libc}`];
      // Install scripts would compile for the host; native.ts runs those that matter, for the target.
      const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      // npm's own settings (registry, proxy, credentials) are in the user's environment.
      await context.run('npm', ['ci', '--omit=dev', ...platform, ...quiet], { cwd: context.dir, environment: 'host' });
    },
  };
}

export function appFiles(target: Target, app: Application, modules: Step | undefined): Step {
  const paths = app.files.filter((path) => !isHostBuild(app, path));
  const files = Object.fromEntries(paths.map((path) => [path, join(app.dir, path)]));
  const needsModules = app.start.kind === 'bin';
  if (needsModules && !modules) {
    throw new UsageError(
      `${app.dir}: ${app.start.from} is not \`node FILE\`, and no dependency could provide the command`,
    );
  }
  return {
    name: 'app',
    target,
    recipe: import.meta.url,
    parameters: { start: app.start, settings: app.manifest.nodeos ?? {}, name: app.name },
    files,
    ...(needsModules && modules ? { inputs: { modules } } : {}),
    async build(context) {
      for (const path of paths) {
        await mkdir(join(context.dir, 'files', dirname(path)), { recursive: true });
        await cp(context.file(path), join(context.dir, 'files', path), { verbatimSymlinks: true });
      }
      await mkdir(join(context.dir, 'files'), { recursive: true });
      await writeFile(join(context.dir, 'nodeos.json'), JSON.stringify(await initConfig(context, app), null, 2) + '\n');
    },
  };
}

/** What node-gyp made of the application's addon here is for this machine. */
export const isHostBuild = (app: Application, path: string): boolean =>
  app.files.includes('binding.gyp') && path.startsWith('build/');

/** What the init reads as /etc/nodeos.json; its type is `AppConfig` in packages/init/guest/config.ts. */
async function initConfig(context: StepContext, app: Application): Promise<object> {
  const { start } = app;
  const main = start.kind === 'module' ? start.main : await findBin(context, start.bin);
  const settings = app.manifest.nodeos ?? {};
  return {
    name: app.name,
    main: posix.join(APP_DIR, main),
    args: start.args,
    nodeArgs: start.nodeArgs,
    cwd: APP_DIR,
    env: { ...start.env, ...settings.env },
    user: settings.user ?? 'app',
    restart: settings.restart ?? 'on-failure',
    ...(settings.onexit === undefined ? {} : { onexit: settings.onexit }),
  };
}

/** The JavaScript file behind a command of a dependency. */
async function findBin(context: StepContext, command: string): Promise<string> {
  const modules = join(context.input('modules'), 'node_modules');
  const lock = JSON.parse(await readFile(join(modules, '.package-lock.json'), 'utf8')) as {
    packages?: Record<string, { bin?: Record<string, string> }>;
  };
  for (const [path, { bin }] of Object.entries(lock.packages ?? {})) {
    const file = bin && Object.hasOwn(bin, command) ? bin[command] : undefined;
    if (file === undefined) continue;
    const text = await readFile(join(context.input('modules'), path, file), 'utf8');
    if (/^#!.*\bnode\b/.test(text) || /\.[cm]?js$/.test(file)) return posix.join(path, file);
  }
  throw new NodeosError(
    `scripts.start runs "${command}", which is neither node nor a Node.js command of a dependency`,
    {
      hint: 'there is no shell and no other program on the target: make it `node FILE`',
    },
  );
}

function pick(manifest: PackageJson, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(manifest).filter(([name]) => names.includes(name)));
}
