/** Finds and loads the configuration of a folder. A configuration in TypeScript or JavaScript is a program, and runs here. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseJson } from '@nodeos/app';
import { exists, messageOf, NodeosError, UsageError } from '@nodeos/base';

/** The file names, each with what loads it. */
const LOADERS: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  'nodeos.config.ts': runModule,
  'nodeos.config.js': runModule,
  'nodeos.config.mjs': runModule,
  'nodeos.config.json': readJson,
};
const FILE_NAMES = Object.keys(LOADERS);

/** What `import { defineConfig } from 'nodeos'` gives a configuration, whether the package is installed there or not. */
const DEFINE = fileURLToPath(new URL('define.js', import.meta.url));
const JSON_LIMIT = 1 << 20;

export interface ConfigFile {
  readonly name: string;
  /** The folder that relative paths begin at. */
  readonly dir: string;
  /** What the file says. Nothing of it is checked. */
  readonly content: unknown;
}

/**
 * Loads the configuration of a folder.
 * @returns undefined if the folder has none
 * @throws UsageError for several files, or one that is not JSON; NodeosError for an exception of the program
 */
export async function loadConfigFile(dir: string): Promise<ConfigFile | undefined> {
  const found = await findConfigFiles(dir);
  const [name, ...more] = found;
  if (name === undefined) return undefined;
  if (more.length > 0)
    throw new UsageError(`${dir} has several configurations: ${found.join(', ')}`, { hint: 'keep one of them' });
  return { name, dir, content: await LOADERS[name]?.(join(dir, name)) };
}

/** The names of a folder's configurations. */
export async function findConfigFiles(dir: string): Promise<string[]> {
  const areThere = await Promise.all(FILE_NAMES.map((name) => exists(join(dir, name))));
  return FILE_NAMES.filter((_, index) => areThere[index]);
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8');
  if (text.length > JSON_LIMIT) throw new UsageError(`${path} has ${text.length} characters; at most ${JSON_LIMIT}`);
  try {
    return parseJson(text);
  } catch (error) {
    throw new UsageError(`${path} is not valid JSON: ${messageOf(error)}`);
  }
}

/**
 * One loader for TypeScript and JavaScript on every Node.js, so that a file means the same everywhere.
 * @returns the default export
 */
async function runModule(path: string): Promise<unknown> {
  const { createJiti } = await import('jiti');
  // Its cache of files would be in a folder that others can write to.
  const jiti = createJiti(import.meta.url, { alias: { nodeos: DEFINE }, fsCache: false, moduleCache: false });
  try {
    // Its `import` would run some programs by Node.js, without the alias and at most once, and failing ones twice.
    const options = { filename: path, async: true, forceTranspile: true };
    const module = (await jiti.evalModule(await readFile(path, 'utf8'), options)) as { readonly default?: unknown };
    return 'default' in module ? module.default : undefined;
  } catch (error) {
    const frame = error instanceof Error ? error.stack?.split('\n').find((line) => line.includes(path)) : undefined;
    throw new NodeosError(`${path}: ${messageOf(error)}`, {
      lines: frame === undefined ? [] : [frame.trim()],
      hint: 'it is a program, and ended with an exception',
      cause: error,
    });
  }
}
