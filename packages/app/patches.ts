/**
 * Applies the patches of `patch-package`, if a project's install scripts call it. This is the only install script that
 * concerns just node_modules, and the application needs it to work. https://github.com/ds300/patch-package
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { UsageError } from '@nodeos/base';
import { type StepContext } from '@nodeos/engine';
import { runNpm } from './npm.js';
import type { Project } from './project.js';
import { commandsIn, textOf } from './words.js';

/** The root scripts that `npm install` runs, in its order. */
export const INSTALL_SCRIPTS = [
  'preinstall',
  'install',
  'postinstall',
  'preprepare',
  'prepare',
  'postprepare',
] as const;

const TOOL = 'patch-package';
/** Words that may precede the tool's name. */
const RUNNERS = new Set(['npx', 'yarn', 'pnpm', 'exec']);

export interface Patches {
  /** The version of the tool in the lock file. */
  readonly version: string;
  readonly args: readonly string[];
  /** Paths of the patches, relative to the project's root. */
  readonly files: readonly string[];
  /** The script only runs the tool. */
  readonly isOnlyCommand: boolean;
  readonly script: string;
}

/** Finds a project's patches; undefined if it has none. @throws UsageError if the tool is not in the lock file */
export async function patchesOf(project: Project): Promise<Patches | undefined> {
  const found = INSTALL_SCRIPTS.map((script) => callIn(script, project.scripts[script] ?? '')).find((call) => call);
  if (!found) return undefined;
  const at = found.args.indexOf('--patch-dir');
  const folder = posix.normalize(at < 0 ? 'patches' : (found.args[at + 1] ?? ''));
  if (folder.startsWith('..') || !existsSync(join(project.root, folder))) return undefined;
  const names = (await readdir(join(project.root, folder), { recursive: true })).sort();
  const files = names.filter((name) => name.endsWith('.patch')).map((name) => posix.join(folder, name));
  const version = project.lock.packages?.[`node_modules/${TOOL}`]?.version;
  if (version === undefined)
    throw new UsageError(`${project.root}: scripts.${found.script} runs ${TOOL}, which is not in the lock file`, {
      hint: `npm install --save-dev ${TOOL}`,
    });
  return { ...found, files, version };
}

function callIn(script: string, line: string): Pick<Patches, 'args' | 'isOnlyCommand' | 'script'> | undefined {
  if (!line.includes(TOOL)) return undefined;
  const commands = split(line).map((words) => words.slice(words.findIndex((word) => !RUNNERS.has(word))));
  const call = commands.find(([command]) => command === TOOL);
  return call && { script, args: call.slice(1), isOnlyCommand: commands.length === 1 };
}

/** Splits a line into commands. A line that needs a shell is split roughly, because it may still run the tool. */
function split(line: string): string[][] {
  try {
    return commandsIn(line).map((words) => words.map((word) => textOf(word) ?? ''));
  } catch {
    return line.split(/&&|\|\||[;&|]/).map((command) => command.trim().split(/\s+/));
  }
}

/** Applies the patches to the node_modules of a folder that also contains package.json and the patch files. */
export async function applyPatches(context: StepContext, patches: Patches, folder: string): Promise<void> {
  const tools = join(context.work, 'tools');
  await mkdir(tools);
  context.progress(`applying ${patches.files.length} patches`);
  await runNpm(
    context,
    ['install', '--ignore-scripts', '--no-save', '--no-package-lock', `${TOOL}@${patches.version}`],
    {
      cwd: tools,
    },
  );
  const program = join(tools, 'node_modules', TOOL, 'index.js');
  await context.run(process.execPath, [program, ...patches.args, '--error-on-fail'], {
    cwd: folder,
    env: { NODE_ENV: 'production' },
  });
}
