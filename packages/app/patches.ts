/**
 * Patches of dependencies that `patch-package` applies, where a project's install scripts run it. It is the one of them
 * that concerns node_modules alone, and it is needed before anything works. https://github.com/ds300/patch-package
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { UsageError } from '@nodeos/base';
import { type StepContext } from '@nodeos/engine';
import { runNpm } from './npm.js';
import type { Project } from './project.js';
import { commandsIn, textOf } from './words.js';

/** Root scripts that `npm install` runs, in its order. */
export const INSTALL_SCRIPTS = [
  'preinstall',
  'install',
  'postinstall',
  'preprepare',
  'prepare',
  'postprepare',
] as const;

const TOOL = 'patch-package';
/** Words that may come before it. */
const RUNNERS = new Set(['npx', 'yarn', 'pnpm', 'exec']);

export interface Patches {
  /** Of the tool, by the lock file. */
  readonly version: string;
  readonly args: readonly string[];
  /** Relative to the project's root. */
  readonly files: readonly string[];
  /** The script that runs it does nothing else. */
  readonly whole: boolean;
  readonly script: string;
}

/** @throws UsageError if the tool is not in the lock file. */
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

function callIn(script: string, line: string): Pick<Patches, 'args' | 'whole' | 'script'> | undefined {
  if (!line.includes(TOOL)) return undefined;
  const commands = split(line).map((words) => words.slice(words.findIndex((word) => !RUNNERS.has(word))));
  const call = commands.find(([command]) => command === TOOL);
  return call && { script, args: call.slice(1), whole: commands.length === 1 };
}

/** A line that needs a shell may still run the tool, without a word about what else it does. */
function split(line: string): string[][] {
  try {
    return commandsIn(line).map((words) => words.map((word) => textOf(word) ?? ''));
  } catch {
    return line.split(/&&|\|\||[;&|]/).map((command) => command.trim().split(/\s+/));
  }
}

/** Applies them to node_modules of a folder with a package.json, where the files of the patches are, too. */
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
