/**
 * The ingredients of a step, as a flat list of names, and the key made from them. The manifest keeps the list, so that
 * a later build can say which ingredient changed.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { init as lexerReady, parse } from 'es-module-lexer';
import { codeOf, NodeosError, sha256 } from '@nodeos/base';
import { canonicalJson, hashPath } from './hash.js';
import { searchPath } from './run.js';
import { checksumOf, type Source } from './source.js';
import type { Step } from './step.js';

export type Ingredients = Readonly<Record<string, string>>;

/** Raise this number when a change in the engine changes outputs of an unchanged recipe (environment, unpacking). */
const ENGINE_VERSION = '1';

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  /** The project's own name of a package that was published under another one (scripts/release). */
  readonly nodeosPackage?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

interface Home {
  readonly name: string;
  readonly version: string;
  readonly dir: string;
  /** Names of packages that need not be installed. */
  readonly optional: ReadonlySet<string>;
}

const packages = new Map<string, Home>();

/** The scope of the project's own packages. Their code counts by its content, wherever they are installed. */
const OWN_SCOPE = `${packageOf(fileURLToPath(import.meta.url)).name.split('/')[0] ?? ''}/`;

/** Packages that do not count as part of a recipe. The target is already in the key as data. */
const ENGINE_PACKAGES: ReadonlySet<string> = new Set(['base', 'targets', 'engine'].map((name) => OWN_SCOPE + name));

/**
 * Collects a step's ingredients.
 * @param inputKeys the keys of the step's inputs, by input name
 * @param modules what is known of modules already; others are added
 * @throws NodeosError if an input file cannot be read or a tool cannot report its version
 */
export async function ingredientsOf(
  step: Step,
  inputKeys: Readonly<Record<string, string>>,
  modules: Modules = new Map(),
): Promise<Ingredients> {
  const list: [string, string][] = [
    ['engine', ENGINE_VERSION],
    ['name', step.name],
    ['target', canonicalJson(step.target)],
    ...Object.entries(await recipeOf([step.recipe].flat(), modules)),
    ...Object.entries(step.parameters ?? {}).map(([k, v]): [string, string] => [`parameter ${k}`, canonicalJson(v)]),
    ...Object.entries(step.sources ?? {}).map(([k, v]): [string, string] => [`source ${k}`, sourceId(v)]),
    ...Object.entries(inputKeys).map(([k, v]): [string, string] => [`input ${k}`, v]),
  ];
  for (const [name, path] of Object.entries(step.files ?? {})) list.push([`file ${name}`, await fileId(step, path)]);
  const versions = (step.tools ?? []).map(
    async (tool) => [`tool ${tool}`, await toolVersion(tool)] as [string, string],
  );
  list.push(...(await Promise.all(versions)));
  return Object.fromEntries(list.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The key of an output on any machine: the versions of the host's tools are left out. A step whose output depends on them
 * is not shared (`Step.isLocal`).
 * @param inputKeys the shared keys of the step's inputs, by input name
 */
export function sharedKeyOf(ingredients: Ingredients, inputKeys: Readonly<Record<string, string>>): string {
  const list = Object.entries(ingredients).filter(([name]) => !name.startsWith('tool '));
  const keys = Object.entries(inputKeys).map(([name, key]): [string, string] => [`input ${name}`, key]);
  return keyOf(Object.fromEntries([...list, ...keys]));
}

export function keyOf(ingredients: Ingredients): string {
  return sha256(canonicalJson(ingredients));
}

/** The ingredients that differ, as lines for a person. */
export function difference(previous: Ingredients, current: Ingredients): string[] {
  const names = [...new Set([...Object.keys(previous), ...Object.keys(current)])].sort();
  return names
    .filter((name) => previous[name] !== current[name])
    .map((name) => {
      if (previous[name] === undefined) return `${name} is new`;
      if (current[name] === undefined) return `${name} is gone`;
      return `${name} changed from ${abridged(previous[name])} to ${abridged(current[name])}`;
    });
}

const abridged = (value: string): string =>
  /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value.length > 60 ? `${value.slice(0, 57)}…` : value;

function sourceId(source: Source): string {
  const sums = new Set(source.places.map((place) => checksumOf(place).digest)); // mirrors of a file: one source
  return `${source.name} ${source.version} ${sha256([...sums].join(' '))}`;
}

async function fileId(step: Step, path: string): Promise<string> {
  try {
    return await hashPath(path);
  } catch (error) {
    throw new NodeosError(`${step.name}: cannot read its input ${path}: ${String(error)}`);
  }
}

const toolVersions = new Map<string, Promise<string>>();

/** How tools say their version, where that is not by `--version`. */
const VERSION_OPTIONS: Readonly<Record<string, string>> = { mke2fs: '-V' };

/** The first line of what a tool says of its version. A missing tool is an ingredient too; the recipe finds out whether it matters. */
function toolVersion(tool: string): Promise<string> {
  const known = toolVersions.get(tool);
  if (known) return known;
  const option = VERSION_OPTIONS[tool] ?? '--version';
  const pending = promisify(execFile)(tool, [option], {
    env: { ...process.env, PATH: searchPath(), LC_ALL: 'C' },
  }).then(
    ({ stdout, stderr }) => (stdout || stderr).split('\n')[0] ?? '',
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT') {
        toolVersions.delete(tool); // it may be installed before the next plan
        return 'missing';
      }
      throw new NodeosError(`${tool} ${option} failed: ${String(error)}`);
    },
  );
  toolVersions.set(tool, pending);
  return pending;
}

/** A module of a recipe. */
interface Module {
  /** Undefined for what does not count. */
  readonly ingredient?: readonly [name: string, value: string];
  /** The paths of what it imports. */
  readonly imports: readonly string[];
}

/** Modules by path. Many steps import the same ones. */
export type Modules = Map<string, Module>;

/**
 * The code of a recipe: its modules and the project modules that they import, each by content; npm libraries by name and
 * version. The engine and the packages below it are left out (`ENGINE_VERSION`), and so are optional packages: an output
 * cannot depend on what need not be there.
 */
export async function recipeOf(urls: readonly string[], modules: Modules = new Map()): Promise<Record<string, string>> {
  await lexerReady;
  const found = new Map<string, string>();
  const visited = new Set<string>();
  const visit = (path: string): void => {
    if (visited.has(path)) return;
    visited.add(path);
    const module = modules.get(path) ?? readModule(path);
    modules.set(path, module);
    if (module.ingredient) found.set(...module.ingredient);
    module.imports.forEach(visit);
  };
  for (const url of urls) visit(fileURLToPath(url));
  return Object.fromEntries(found);
}

function readModule(path: string): Module {
  const home = packageOf(path);
  if (ENGINE_PACKAGES.has(home.name)) return { imports: [] };
  if (path.includes('/node_modules/') && !home.name.startsWith(OWN_SCOPE))
    return { ingredient: [`recipe ${home.name}`, home.version], imports: [] };
  const code = readFileSync(path, 'utf8');
  const specifiers = importsOf(path, code).filter((specifier) => !home.optional.has(packageIn(specifier)));
  return {
    ingredient: [`recipe ${home.name}/${relative(home.dir, path)}`, sha256(code)],
    imports: specifiers.map((specifier) => resolve(specifier, path)),
  };
}

function importsOf(path: string, code: string): string[] {
  if (!/\.m?js$/.test(path)) return []; // TypeScript source under a test runner counts by its content alone
  return parse(code, path)[0]
    .map((imported) => imported.n)
    .filter((name): name is string => name !== undefined && !isBuiltin(name));
}

function resolve(specifier: string, from: string): string {
  if (specifier.startsWith('.')) return join(dirname(from), specifier);
  const require = createRequire(from);
  try {
    return require.resolve(specifier);
  } catch (error) {
    // A library without a `require` export cannot be resolved here. Its package.json is enough: only the version
    // counts.
    const name = packageIn(specifier);
    const manifests = (require.resolve.paths(name) ?? []).map((dir) => join(dir, name, 'package.json'));
    const manifest = manifests.find((path) => existsSync(path));
    const isLibrary = manifest !== undefined && realpathSync(manifest).includes('/node_modules/');
    if (codeOf(error) !== 'ERR_PACKAGE_PATH_NOT_EXPORTED' || !isLibrary) throw error;
    return manifest;
  }
}

/** The package that an import names. */
function packageIn(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function packageOf(path: string): Home {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const known = packages.get(dir);
    if (known) return known;
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest)) {
      const {
        name: ownName,
        nodeosPackage,
        version = '',
        ...rest
      } = JSON.parse(readFileSync(manifest, 'utf8')) as Manifest;
      const name = nodeosPackage ?? ownName;
      if (name !== undefined) {
        const home = { name, version, dir, optional: optionalOf(rest) };
        packages.set(dir, home);
        return home;
      }
    }
    if (dir === dirname(dir)) throw new Error(`${path} belongs to no package`);
  }
}

function optionalOf({ optionalDependencies = {}, peerDependenciesMeta = {} }: Manifest): Set<string> {
  const peers = Object.keys(peerDependenciesMeta).filter((name) => peerDependenciesMeta[name]?.optional === true);
  return new Set([...Object.keys(optionalDependencies), ...peers]);
}
