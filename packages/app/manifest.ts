/** Reads and checks `package.json`. https://docs.npmjs.com/cli/configuring-npm/package-json */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, UsageError } from '@nodeos/base';
import { ENDS, RESTARTS, USERS } from '@nodeos/contract';
import type { Settings } from './settings.js';

export interface PackageJson {
  readonly name?: string;
  readonly version?: string;
  readonly main?: string;
  readonly bin?: string | Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly files?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly workspaces?: unknown;
  readonly overrides?: object;
  readonly engines?: object;
  /** Packages whose install scripts may run, by name or `NAME@VERSION`. */
  readonly allowScripts?: Readonly<Record<string, boolean>>;
  /** Settings of NodeOS; see docs/app.md. */
  readonly nodeos?: Settings;
}

const SETTINGS = {
  modules: ['install', 'copy'],
  user: USERS,
  restart: RESTARTS,
  onexit: ENDS,
} as const;

/** Editors on Windows may write a byte-order mark, which npm ignores. */
export const parseJson = (text: string): unknown => JSON.parse(text.replace(/^\uFEFF/, ''));

/** Reads a folder's package.json. @throws UsageError if it is missing or invalid */
export async function readManifest(dir: string): Promise<PackageJson> {
  const path = join(dir, 'package.json');
  try {
    const manifest = parseJson(await readFile(path, 'utf8'));
    if (manifest === null || typeof manifest !== 'object' || Array.isArray(manifest))
      throw new SyntaxError('not an object');
    checkTypes(dir, manifest);
    checkSettings(dir, manifest);
    return manifest;
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(`${path} is not valid JSON: ${error.message}`);
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
    throw new UsageError(`${dir} is not an application: it has no package.json`, {
      hint: 'name a folder with a package.json, or none for a REPL',
    });
  }
}

/**
 * Checks the fields that this package or npm's own tools read. npm's tools would fail without mentioning package.json.
 */
function checkTypes(dir: string, manifest: PackageJson): void {
  const { scripts, nodeos } = manifest;
  const check = (name: string, value: unknown, expected: string, isValid: boolean): void => {
    if (value !== undefined && !isValid) throw new UsageError(`${dir}/package.json: ${name} must be ${expected}`);
  };
  const checkString = (name: string, value: unknown): void => check(name, value, 'a string', typeof value === 'string');
  const checkObject = (name: string, value: unknown): void =>
    check(name, value, 'an object', typeof value === 'object' && value !== null && !Array.isArray(value));
  checkString('name', manifest.name);
  checkString('version', manifest.version);
  checkString('main', manifest.main);
  checkObject('scripts', scripts);
  for (const [name, line] of Object.entries(scripts ?? {})) checkString(`scripts.${name}`, line);
  for (const name of ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies', 'config'] as const)
    checkObject(name, manifest[name]);
  check('files', manifest.files, 'an array', Array.isArray(manifest.files));
  checkObject('allowScripts', manifest.allowScripts);
  checkObject('nodeos', nodeos);
  checkString('nodeos.start', nodeos?.start);
  const formats = nodeos?.formats as unknown;
  const isList = Array.isArray(formats) && formats.every((name) => typeof name === 'string');
  check('nodeos.formats', formats, 'an array of strings', isList);
  checkObject('nodeos.env', nodeos?.env);
  for (const [name, value] of Object.entries(nodeos?.env ?? {})) checkString(`nodeos.env.${name}`, value);
}

function checkSettings(dir: string, manifest: PackageJson): void {
  for (const [name, allowed] of Object.entries(SETTINGS)) {
    const value = manifest.nodeos?.[name as keyof typeof SETTINGS];
    if (value === undefined || (allowed as readonly string[]).includes(value)) continue;
    throw new UsageError(`${dir}/package.json: nodeos.${name} is "${value}"; it can be ${allowed.join(', ')}`);
  }
}
