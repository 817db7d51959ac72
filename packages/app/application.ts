/**
 * An application is a folder with a `package.json`. This module finds the files for the image and the start command.
 */
import { existsSync } from 'node:fs';
import { basename, join, posix, resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { readManifest, type PackageJson } from './manifest.js';
import { notes } from './notes.js';
import { filesOf } from './node-options.js';
import { ownerOf } from './lock.js';
import { isPacked, excludedBy, packedFiles, type Packed } from './packed.js';
import { readProject, type Project, type ReadOptions } from './project.js';
import { manifestSettings } from './settings.js';
import { startOf, type Start, type StartCommand } from './start-script.js';

export interface Application {
  /** The absolute path of the folder. */
  readonly dir: string;
  readonly name: string;
  readonly manifest: PackageJson;
  readonly start: Start;
  readonly packed: Packed;
  /** What has to be installed; undefined if nothing has. */
  readonly project: Project | undefined;
  /** Messages for the user about files that are left out and scripts that do not run. */
  readonly notes: readonly string[];
}

/** Reads an application. @throws UsageError if the folder is not an application, or does not say what to run */
export async function readApplication(folder: string, target: Target, options: ReadOptions = {}): Promise<Application> {
  const dir = resolve(folder);
  const written = await readManifest(dir);
  const nodeos = options.settings ?? (written.nodeos && manifestSettings(written.nodeos));
  const manifest: PackageJson = nodeos ? { ...written, nodeos } : written;
  const isInstalled = manifest.nodeos?.modules !== 'copy';
  const project = isInstalled ? await readProject(dir, manifest, options) : undefined;
  const packed = await packedFiles(dir, manifest, project?.root);
  const app = { dir, manifest, packed, project };
  const start = startOf(manifest, isPacked(packed), (command) => refusal(app, command));
  const application = { ...app, start, name: manifest.name ?? basename(dir) };
  return { ...application, notes: notes(application, target) };
}

type Known = Pick<Application, 'dir' | 'manifest' | 'packed' | 'project'>;

/** Why a command cannot run, as far as that is known before the installation. */
function refusal(app: Known, command: StartCommand): UsageError | undefined {
  if (command.kind === 'bin') return missingCommand(app, command.bin, command.from);
  const files = filesOf(command.nodeArgs).filter(({ needed }) => needed);
  const named = [command.main, ...files.map(({ path }) => posix.normalize(path))];
  const missing = named.find((path) => !isPacked(app.packed)(path) && !path.startsWith('node_modules/'));
  return missing === undefined ? undefined : missingFile(app, missing, command.from);
}

function missingFile({ dir, manifest }: Known, path: string, from: string): UsageError {
  const isPresent = !path.startsWith('..') && !path.startsWith('/') && existsSync(join(dir, path));
  const rule = excludedBy(dir, manifest);
  const reason = isPresent ? `: it is there, but ${rule} leaves it out` : '';
  const secret = /(^|\/)\.env/.test(path) ? '; or give variables with --env NAME=VALUE instead of a file' : '';
  return new UsageError(`${dir}: ${from} names ${path}, which is not among the files that npm would pack${reason}`, {
    hint: (isPresent ? takeIn(rule, path) : 'check the path, and `files`, .npmignore and .gitignore') + secret,
  });
}

/** Only what would help: `files` counts instead of .npmignore, and that instead of .gitignore. */
function takeIn(rule: string, path: string): string {
  if (rule === '.gitignore')
    return 'take it in by `files` in package.json, or make an .npmignore, which counts instead of .gitignore';
  return rule === '.npmignore' ? `take ${path} out of .npmignore` : `add "${path}" to \`files\``;
}

function missingCommand({ dir, project, manifest }: Known, name: string, from: string): UsageError | undefined {
  const hint = {
    hint:
      'there is no shell and no other program on the target; "nodeos": {"start": "node FILE"} in package.json is for this ' +
      'system alone',
  };
  const owner = project && ownerOf(project.lock, project.member, name);
  if (owner?.dev)
    return new UsageError(
      `${dir}: ${from} runs "${name}" of ${owner.name}, a development dependency, which is not installed`,
      hint,
    );
  // Not every lock file names commands. In that case, the installed or copied packages are searched during the build.
  if (owner || (project && !project.lock.packages) || manifest.nodeos?.modules === 'copy') return undefined;
  return new UsageError(`${dir}: ${from} runs "${name}", which is neither node nor a command of a dependency`, hint);
}
