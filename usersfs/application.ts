/**
 * An application: a folder with a `package.json`. What of it goes into the image, and what runs.
 * package.json: https://docs.npmjs.com/cli/configuring-npm/package-json
 */
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import packlist from 'npm-packlist';
import { codeOf, UsageError } from '@nodeos/build';
import type { Lock } from './lock.js';
import { startOf, type StartCommand } from './start-script.js';

export interface PackageJson {
  readonly name?: string;
  readonly version?: string;
  readonly main?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly overrides?: object;
  readonly engines?: object;
  /** Whose install scripts may run, by name or `NAME@VERSION`. */
  readonly allowScripts?: Readonly<Record<string, boolean>>;
  /** Settings of this system; see docs/usersfs.md. */
  readonly nodeos?: {
    readonly user?: 'app' | 'root';
    readonly restart?: 'never' | 'on-failure' | 'always';
    readonly onexit?: 'reboot' | 'poweroff' | 'halt' | 'shell';
    readonly env?: Readonly<Record<string, string>>;
  };
}

export interface Application {
  /** Absolute path of the folder. */
  readonly dir: string;
  readonly name: string;
  readonly manifest: PackageJson;
  readonly start: StartCommand;
  /** Files that go into the image, relative to the folder, sorted. */
  readonly files: readonly string[];
  /** package-lock.json, if there is one. */
  readonly lock: Lock | undefined;
}

const SETTINGS = {
  user: ['app', 'root'],
  restart: ['never', 'on-failure', 'always'],
  onexit: ['reboot', 'poweroff', 'halt', 'shell'],
} as const;

/** @throws UsageError if it is not an application, or says nothing about what to run. */
export async function readApplication(folder: string): Promise<Application> {
  const dir = resolve(folder);
  const manifest = await readManifest(dir);
  const name = manifest.name ?? basename(dir);
  checkTypes(dir, manifest);
  checkSettings(dir, manifest);
  const lock = await readLock(dir);
  if (!lock && Object.keys(manifest.dependencies ?? {}).length > 0) {
    throw new UsageError(`${dir} has dependencies but no package-lock.json, so what they are is left open`, {
      hint: `run \`npm install\` in ${dir} to make one`,
    });
  }
  const listed = await packlist({ path: dir, package: manifest, isProjectRoot: true, edgesOut: new Map() });
  const files = listed.filter((path) => path !== '.npmrc').sort();
  const start = startOf(manifest, (path) => files.includes(path));
  if (start.kind === 'module' && !files.includes(start.main)) {
    throw new UsageError(
      `${dir}: ${start.from} names ${start.main}, which is not among the files that npm would pack`,
      {
        hint: 'check the path, and `files`, .npmignore and .gitignore',
      },
    );
  }
  return { dir, name, manifest, start, files, lock };
}

async function readManifest(dir: string): Promise<PackageJson> {
  const path = join(dir, 'package.json');
  try {
    const manifest: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (manifest === null || typeof manifest !== 'object' || Array.isArray(manifest))
      throw new SyntaxError('not an object');
    return manifest;
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(`${path} is not valid JSON: ${error.message}`);
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
    throw new UsageError(`${dir} is not an application: it has no package.json`, {
      hint: 'name a folder with a package.json, or none for a REPL',
    });
  }
}

/** What is read here, and by npm's own tools, which would fail without a word about package.json. */
function checkTypes(dir: string, manifest: PackageJson & { readonly files?: unknown }): void {
  const { scripts, nodeos } = manifest;
  const check = (name: string, value: unknown, what: string, right: boolean): void => {
    if (value !== undefined && !right) throw new UsageError(`${dir}/package.json: ${name} must be ${what}`);
  };
  const text = (name: string, value: unknown): void => check(name, value, 'a string', typeof value === 'string');
  const object = (name: string, value: unknown): void =>
    check(name, value, 'an object', typeof value === 'object' && value !== null && !Array.isArray(value));
  text('name', manifest.name);
  text('main', manifest.main);
  object('scripts', scripts);
  text('scripts.start', scripts?.['start']);
  object('dependencies', manifest.dependencies);
  check('files', manifest.files, 'an array', Array.isArray(manifest.files));
  object('allowScripts', manifest.allowScripts);
  object('nodeos', nodeos);
  object('nodeos.env', nodeos?.env);
  for (const [name, value] of Object.entries(nodeos?.env ?? {})) text(`nodeos.env.${name}`, value);
}

function checkSettings(dir: string, manifest: PackageJson): void {
  for (const [name, allowed] of Object.entries(SETTINGS)) {
    const value = manifest.nodeos?.[name as keyof typeof SETTINGS];
    if (value === undefined || (allowed as readonly string[]).includes(value)) continue;
    throw new UsageError(`${dir}/package.json: nodeos.${name} is "${value}"; it can be ${allowed.join(', ')}`);
  }
}

async function readLock(dir: string): Promise<Lock | undefined> {
  const path = join(dir, 'package-lock.json');
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Lock;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError(`${path} is not valid JSON: ${error.message}`, { hint: 'run `npm install` to mend it' });
  }
}
