/** Messages for the user before the boot: what is left out of an application, and what is not run. */
import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { Target } from '@nodeos/targets';
import { unreviewed, type Rules } from './allow.js';
import { lockedPackages } from './lock.js';
import { excludedBy, type Packed } from './packed.js';
import { INSTALL_SCRIPTS } from './patches.js';
import type { PackageJson } from './manifest.js';
import type { Project } from './project.js';
import type { Start } from './start-script.js';

/** The parts of an application that the messages need. */
interface Described {
  readonly dir: string;
  readonly manifest: PackageJson;
  readonly start: Start;
  readonly packed: Packed;
  readonly project: Project | undefined;
}

export function notes(app: Described, target: Target): string[] {
  const linked = app.project?.links ?? [];
  return [
    ...app.start.leftOut,
    ...environmentFiles(app),
    ...app.packed.leftOut,
    ...linked.flatMap(({ path, packed }) => packed.leftOut.map((line) => `${path}: ${line}`)),
    ...scriptsNotRun(app),
    ...linksOfCopy(app),
    ...(app.project ? dependenciesNotRun(app.project, target, app.project.allowScripts) : []),
  ];
}

/** Environment files that programs look for by themselves. */
function environmentFiles({ dir, manifest, packed }: Described): string[] {
  const names = ['.env', '.env.local', '.env.production'].filter(
    (name) => existsSync(join(dir, name)) && !packed.files.includes(name),
  );
  return names.map(
    (name) => `${name} is left out by ${excludedBy(dir, manifest)}; --env NAME=VALUE gives single variables`,
  );
}

const WITHOUT_SCRIPTS =
  'does not name install scripts: none is run, and no native code compiled; package-lock.json of npm 7 and later does';

function dependenciesNotRun(project: Project, target: Target, rules: Rules): string[] {
  const warnings = unreviewed(lockedPackages(project.lock, target, project.member), rules);
  const unknown = project.lock.packages ? [] : [`${project.lockFile} ${WITHOUT_SCRIPTS}`];
  return [
    ...warnings,
    ...unknown,
    ...project.links.flatMap((link) => (link.project ? dependenciesNotRun(link.project, target, rules) : [])),
  ];
}

/** With `"modules": "copy"`: packages that are links to folders elsewhere, as `npm link` makes them. */
function linksOfCopy({ dir, manifest }: Described): string[] {
  const modules = join(dir, 'node_modules');
  if (manifest.nodeos?.modules !== 'copy' || !existsSync(modules)) return [];
  const entriesOf = (path: string): string[] => readdirSync(path).map((name) => join(path, name));
  const all = entriesOf(modules).flatMap((path) => (basename(path).startsWith('@') ? entriesOf(path) : [path]));
  const outside = all
    .filter((path) => lstatSync(path).isSymbolicLink())
    .filter((path) => relative(modules, resolve(dirname(path), readlinkSync(path))).startsWith('..'));
  return outside.length === 0
    ? []
    : [
        `links that lead out of node_modules are not followed: ${outside.map((path) => relative(dir, path)).join(', ')}`,
      ];
}

/** Scripts of the application and of linked packages that npm would run after an install. */
function scriptsNotRun({ project, manifest, packed }: Described): string[] {
  const rootLines = scriptLines(
    '',
    { scripts: project?.scripts ?? manifest.scripts ?? {} },
    packed.files.includes('binding.gyp'),
  );
  const ofMember =
    project && project.member !== '' ? scriptLines('', manifest, packed.files.includes('binding.gyp')) : [];
  const ofLinks = (project?.links ?? []).flatMap(({ target, manifest, packed }) => [
    ...scriptLines(`${target}: `, manifest, false),
    ...(packed.files.includes('binding.gyp') ? [`${target}: what compiles binding.gyp`] : []),
  ]);
  const all = [...rootLines, ...ofMember, ...ofLinks];
  return all.length === 0 ? [] : [`scripts that are not run: ${all.join(', ')}`];
}

/** @param compiled the `install` script does run, to compile an addon */
function scriptLines(prefix: string, { scripts = {} }: PackageJson, compiled: boolean): string[] {
  return INSTALL_SCRIPTS.filter((name) => scripts[name] !== undefined && !(compiled && name === 'install'))
    .map((name) => ({ name, line: scripts[name] ?? '' }))
    .filter(({ line }) => !/^(npx )?patch-package( --[\w-]+( [\w./]+)?)*$/.test(line.trim()))
    .map(({ name, line }) => `${prefix}${name} (${line})`);
}
