/** Finds the file behind a start command among the installed and packed files, the way npm's search path does. */
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { NodeosError } from '@nodeos/base';
import { commandFile, placesOf } from './lock.js';
import { parseJson, type PackageJson } from './manifest.js';
import type { StartCommand } from './start-script.js';

/** The files of /app while the image is built. */
export interface Files {
  /** The folder with the installed packages, laid out as in /app; undefined if nothing was installed. */
  readonly modules: string | undefined;
  /** The paths of packed files on this machine, keyed by their places in /app. */
  readonly packed: Readonly<Record<string, string>>;
  /** The application's folder in /app: `''`, or the folder of a workspace. */
  readonly member: string;
}

export interface Program {
  /** Relative to /app. */
  readonly main: string;
  /** The options for Node.js from the file's first line. */
  readonly nodeArgs: readonly string[];
}

/** Finds a command's file. @throws NodeosError if the file does not exist or is not a Node.js program */
export async function programOf(files: Files, command: StartCommand): Promise<Program> {
  if (command.kind === 'bin') return installedCommand(files, command);
  const main = posix.join(files.member, command.main);
  const found = await locate(files, main);
  if (found === undefined) {
    const path = await withEnding(files, main);
    if (path !== undefined) return { main: path, nodeArgs: [] };
    throw new NodeosError(`${command.from} names ${command.main}, which is not there after the installation`);
  }
  if (command.executed !== true) return { main, nodeArgs: [] };
  const nodeArgs = interpreted(await readFile(found.host, 'utf8'), main);
  if (nodeArgs) return { main, nodeArgs };
  throw new NodeosError(`${command.from} runs ${command.main}, which is no program of Node.js`, {
    hint: 'its first line must be #!/usr/bin/env node',
  });
}

/** Completes a path such as `node_modules/x/cli` to `cli.js`. Packed files were completed earlier. */
async function withEnding(files: Files, main: string): Promise<string | undefined> {
  for (const path of [`${main}.js`, `${main}.json`, posix.join(main, 'index.js')]) {
    if (await locate(files, path)) return path;
  }
  return undefined;
}

async function installedCommand(files: Files, { bin, from }: StartCommand & { kind: 'bin' }): Promise<Program> {
  for (const path of placesOf(`.bin/${bin}`, files.member)) {
    const folder = path.slice(0, -`/.bin/${bin}`.length);
    // Not every installer makes links in .bin: pnpm makes shell scripts.
    for (const find of [() => locate(files, path), () => declared(files, folder, bin)]) {
      const found = await find();
      const nodeArgs = found && interpreted(await readFile(found.host, 'utf8'), found.path);
      if (found && nodeArgs) return { main: found.path, nodeArgs };
    }
  }
  throw new NodeosError(`${from} runs "${bin}", which is neither node nor a Node.js command of a dependency`, {
    hint: 'there is no shell and no other program on the target: make it `node FILE`',
  });
}

interface Found {
  /** Relative to /app, with all links resolved. */
  readonly path: string;
  readonly host: string;
}

/** Finds a file or folder by its path in /app. Links can lead from installed to packed files. */
async function locate({ modules, packed }: Files, path: string): Promise<Found | undefined> {
  let current = '';
  for (const part of path.split('/')) {
    current = posix.join(current, part);
    for (let hops = 0; modules !== undefined && hops < 40; hops++) {
      const entry = await lstat(join(modules, current)).catch(() => undefined);
      if (!entry?.isSymbolicLink()) break;
      current = posix.join(posix.dirname(current), await readlink(join(modules, current)));
    }
    if (current.startsWith('..')) return undefined;
  }
  const packedPath = packed[current];
  if (packedPath !== undefined) return { path: current, host: packedPath };
  const installed = modules === undefined ? undefined : join(modules, current);
  return installed !== undefined && existsSync(installed) ? { path: current, host: installed } : undefined;
}

/** Finds a command by the package.json files of the packages in a folder. */
async function declared(files: Files, folder: string, bin: string): Promise<Found | undefined> {
  const { modules } = files;
  if (modules === undefined || !existsSync(join(modules, folder))) return undefined;
  const childrenOf = async (path: string): Promise<string[]> =>
    (await readdir(join(modules, path)).catch(() => [])).filter((name) => !name.startsWith('.')).sort();
  for (const name of await childrenOf(folder)) {
    const names = name.startsWith('@')
      ? (await childrenOf(posix.join(folder, name))).map((child) => `${name}/${child}`)
      : [name];
    for (const packageName of names) {
      const manifest = await locate(files, posix.join(folder, packageName, 'package.json'));
      const { bin: bins } = manifest ? (parseJson(await readFile(manifest.host, 'utf8')) as PackageJson) : {};
      const file = commandFile(packageName, bins, bin);
      if (file !== undefined) return locate(files, posix.join(folder, packageName, file));
    }
  }
  return undefined;
}

/**
 * The options that a program's first line gives to Node.js: `#!/usr/bin/env -S node --no-warnings`.
 * @returns undefined if the line names another program
 */
export function interpreted(text: string, path: string): string[] | undefined {
  const line = /^\uFEFF?#!\s*([^\r\n]*)/.exec(text)?.[1];
  if (line === undefined) return /\.[cm]?[jt]s$/.test(path) ? [] : undefined;
  const words = line.trim().split(/\s+/);
  if (words[0]?.endsWith('/env')) words.shift();
  if (words[0] === '-S') words.shift();
  const [program = '', ...args] = words;
  return /^(.*\/)?node(js)?$/.test(program) ? args : undefined;
}
