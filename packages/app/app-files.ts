/**
 * The application layer: the application's files and dependencies, as trees for an image.
 *
 *     app-modules, …   files/   the installed packages (install.ts)
 *     app              files/   the packed files of the application and of linked packages; nodeos.json for the init
 *     app-native, …    files/   compiled native code (native.ts)
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { PATHS, SYSTEM_VERSION, type Program, type SystemConfig } from '@nodeos/contract';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import type { Application } from './application.js';
import { programOf, type Files } from './commands.js';
import { modulesSteps } from './install.js';
import type { Libc } from './installers.js';
import { placeOf } from './project.js';
import { machineSettings, type MachineSettings, type Settings } from './settings.js';
import type { StartCommand } from './start-script.js';

/** @returns the steps that provide node_modules; none for an application without dependencies */
export async function appModules(target: Target, app: Application, libc: Libc): Promise<Step[]> {
  if (app.manifest.nodeos?.modules === 'copy') return [copiedModules(target, app)];
  return app.project ? modulesSteps(target, app.project, app.project.allowScripts, libc) : [];
}

/** Copies node_modules from the folder unchanged. The user is responsible that it runs on the target. */
function copiedModules(target: Target, app: Application): Step {
  const modules = join(app.dir, 'node_modules');
  return {
    name: 'app-modules',
    target,
    recipe: import.meta.url,
    files: existsSync(modules) ? { modules } : {},
    async build(context) {
      await mkdir(join(context.dir, 'files'));
      if (!existsSync(modules)) return;
      const to = join(context.dir, 'files', 'node_modules');
      await cp(context.file('modules'), to, { recursive: true, verbatimSymlinks: true });
    },
  };
}

export function appFiles(target: Target, app: Application, modules: Step | undefined, libc: Libc): Step {
  const { files, links } = packedLayout(app);
  const environment = { ...libcVariables(libc), ...packageVariables(app) };
  return {
    name: 'app',
    target,
    recipe: import.meta.url,
    parameters: {
      start: app.start,
      settings: withoutFiles(app.manifest.nodeos ?? {}),
      name: app.name,
      member: app.project?.member ?? '',
      links,
      environment,
    },
    files,
    ...(modules ? { inputs: { modules } } : {}),
    async build(context) {
      await mkdir(join(context.dir, 'files'), { recursive: true });
      const preparePath = async (path: string): Promise<string> => {
        await mkdir(join(context.dir, 'files', dirname(path)), { recursive: true });
        return join(context.dir, 'files', path);
      };
      for (const path of Object.keys(files)) await cp(context.file(path), await preparePath(path));
      for (const [path, target] of Object.entries(links)) await symlink(target, await preparePath(path));
      const config = await initConfig(context, app, environment, { packed: files, hasModules: modules !== undefined });
      await writeFile(join(context.dir, 'nodeos.json'), JSON.stringify(config, null, 2) + '\n');
    },
  };
}

/** The files of this machine and the targets of links, keyed by their places in /app. */
function packedLayout(app: Application): { files: Record<string, string>; links: Record<string, string> } {
  const appPackage = {
    place: app.project?.member ?? '',
    dir: app.dir,
    files: app.packed.files.filter((path) => !isHostBuild(app, path)),
    links: app.packed.links,
  };
  const linked = linkedPlaces(app.project?.links ?? [], '');
  // A workspace can be packed twice, by itself and as a part of its root. Both give the same files.
  const packages = [appPackage, ...linked];
  const pairs = packages.flatMap(({ place, dir, files }) =>
    files.map((path) => [posix.join(place, path), join(dir, path)]),
  );
  const links = packages.flatMap(({ place, links }) =>
    Object.entries(links).map(([path, target]) => [posix.join(place, path), target]),
  );
  return {
    files: Object.fromEntries(pairs) as Record<string, string>,
    links: Object.fromEntries(links) as Record<string, string>,
  };
}

/** The contents of added files are in a key of their own; their paths on this machine are in none. */
const withoutFiles = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => name !== 'files'));

type Links = NonNullable<Application['project']>['links'];

function linkedPlaces(
  links: Links,
  parent: string,
): { place: string; dir: string; files: readonly string[]; links: Readonly<Record<string, string>> }[] {
  return links.flatMap((link) => {
    const place = posix.join(parent, placeOf(link));
    const { dir, packed } = link;
    return [
      { place, dir, files: packed.files, links: packed.links },
      ...linkedPlaces(link.project?.links ?? [], place),
    ];
  });
}

/** Whether node-gyp on this machine made the file. Such a file does not run on the target. */
export const isHostBuild = (app: Application, path: string): boolean =>
  app.packed.files.includes('binding.gyp') && path.startsWith('build/');

/** Builds the contents of /etc/nodeos.json for the init. */
async function initConfig(
  context: StepContext,
  app: Application,
  environment: Readonly<Record<string, string>>,
  { packed, hasModules }: Pick<Files, 'packed'> & { readonly hasModules: boolean },
): Promise<SystemConfig & MachineSettings> {
  const settings = app.manifest.nodeos ?? {};
  const member = app.project?.member ?? '';
  const files = { packed, member, modules: hasModules ? join(context.input('modules'), 'files') : undefined };
  const commandOf = async (command: StartCommand): Promise<Program> => {
    const { main, nodeArgs } = await programOf(files, command);
    return {
      main: posix.join(PATHS.app, main),
      args: command.args,
      nodeArgs: [...nodeArgs, ...command.nodeArgs],
      env: { ...environment, ...command.env, ...settings.env },
    };
  };
  return {
    version: SYSTEM_VERSION,
    name: app.name,
    ...(await commandOf(app.start.main)),
    first: await Promise.all(
      app.start.first.map(async (command) => ({ ...(await commandOf(command)), from: command.from })),
    ),
    cwd: posix.join(PATHS.app, member),
    user: settings.user ?? 'app',
    restart: settings.restart ?? 'on-failure',
    ...(settings.onexit === undefined ? {} : { onexit: settings.onexit }),
    ...machineSettings(settings),
  };
}

/**
 * node-gyp-build selects a prebuilt binary by LIBC. Without it, node-gyp-build looks for a file of one distribution.
 */
const libcVariables = (libc: Libc): Record<string, string> => (libc === 'musl' ? { LIBC: libc } : {});

/**
 * The variables that npm gives a script about its package.
 * https://docs.npmjs.com/cli/using-npm/scripts#packagejson-vars
 */
function packageVariables({ manifest }: Application): Record<string, string> {
  const { name, version, config = {} } = manifest;
  const settings = Object.entries(config)
    .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
    .map(([key, value]) => [`npm_package_config_${key.replace(/\W/g, '_')}`, String(value)]);
  return {
    ...(name === undefined ? {} : { npm_package_name: name }),
    ...(version === undefined ? {} : { npm_package_version: version }),
    ...(Object.fromEntries(settings) as Record<string, string>),
  };
}
