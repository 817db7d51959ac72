/** Shared by all commands that build: the build options, and progress that fits the output. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { UsageError, visible } from '@nodeos/base';
import {
  build,
  jsonProgress,
  plainProgress,
  terminalProgress,
  type BuildResult,
  type Progress,
  type Sharing,
  type Step,
} from '@nodeos/engine';
import { makeLock } from '@nodeos/app';
import type { Target } from '@nodeos/targets';
import { printMessage, type Io, type Option, type Parsed } from './command.js';
import { applicationSettings } from './config/application.js';
import { runBuildCommand } from './config/build-command.js';
import type { Settled } from './config/settle.js';
import { checkTools, withInstalled } from './missing-tools.js';
import { sharingOf, type SharingOptions } from './sharing.js';
import { runtimeOf, systemOf, type System, type SystemOptions } from './system.js';

export const BUILD_OPTIONS = {
  target: { type: 'string', short: 't', value: 'T', help: 'the machine to build for (default x86_64)' },
  jobs: { type: 'string', short: 'j', value: 'N', help: 'steps and compilers at once (default: one a processor)' },
  fragment: {
    type: 'string',
    multiple: true,
    value: 'DIR',
    help: 'a folder with more kernel configuration fragments (*.config); again for more',
  },
  libc: {
    type: 'string',
    value: 'musl|glibc',
    help: "the C library (default musl, for which the toolchain is built first; glibc takes the host's compiler)",
  },
  allocator: {
    type: 'string',
    value: 'musl|mimalloc',
    help: 'what serves malloc() on musl (default musl; mimalloc is for threads that allocate much)',
  },
  node: {
    type: 'string',
    value: 'VERSION',
    help: 'a Node.js of another version, as 24.20.0 or 26 (default: the newest that is pinned)',
  },
  'node-build': {
    type: 'string',
    value: 'official|musl',
    help: "whose Node.js runs on musl: the official build for glibc (default), or upstream's for musl",
  },
  append: {
    type: 'string',
    value: '"…"',
    help: "more words for the kernel's command line, of a machine that is started and in every format that has one",
  },
  lock: {
    type: 'boolean',
    help: "make the application's package-lock.json if there is none: it fixes which versions are installed",
  },
  remote: {
    type: 'string',
    multiple: true,
    value: 'URL',
    help: 'a remote cache to ask for what is not built yet (default: $NODEOS_REMOTE_CACHE); again for more',
  },
  trust: {
    type: 'string',
    multiple: true,
    value: 'KEY',
    help: 'a public key that signs what a remote cache has, besides $NODEOS_TRUSTED_KEYS; again for more',
  },
  'no-remote': { type: 'boolean', help: 'ask no remote cache: build everything here' },
  json: { type: 'boolean', help: 'progress as JSON lines' },
} as const satisfies Record<string, Option>;

/** How a command builds. */
export interface Building extends SharingOptions {
  /** Steps, and compilers, at once. */
  readonly jobs: number;
  /** Progress as JSON lines on standard output. */
  readonly json: boolean;
}

/** @param settled the settled values of a command; only its arguments if it has no configuration */
export const buildingOf = ({ args, projectKeys = [] }: Pick<Settled, 'args'> & Partial<Settled>): Building => ({
  jobs: args.number('jobs', 1) ?? availableParallelism(),
  json: args.flag('json'),
  ...remotesOf(args),
  trusted: args.texts('trust'),
  projectKeys,
});

/** @throws UsageError for `--no-remote` together with `--remote` */
function remotesOf(args: Parsed): Pick<Building, 'remotes'> {
  const remotes = args.texts('remote');
  if (args.flag('no-remote') && remotes.length > 0)
    throw new UsageError('--no-remote, or --remote: one of them, please');
  return args.flag('no-remote') || remotes.length > 0 ? { remotes } : {};
}

/**
 * Implements `--lock`, and reports the files of an application that are left out.
 * @throws UsageError for `--lock` together with `--explain`
 */
function applicationOptions(args: Parsed, io: Io): Pick<SystemOptions, 'makeLock' | 'log'> {
  if (args.flag('lock') && args.flag('explain'))
    throw new UsageError('--lock writes a file, and --explain does nothing: one of them, please');
  const makeFor = async (dir: string): Promise<void> => {
    await makeLock(dir, io.signal);
    printMessage(
      io,
      `made package-lock.json of ${dir}: it fixes the versions that are installed; keep it with the source`,
    );
  };
  return { log: (line) => printMessage(io, line), ...(args.flag('lock') ? { makeLock: makeFor } : {}) };
}

/**
 * Describes the system of a command, after the command that makes the application's files.
 * @throws the errors of `runtimeOf`, `applicationOptions`, `runBuildCommand` and `systemOf`
 */
export async function systemFor(
  target: Target,
  settled: Settled,
  io: Io,
  options: Pick<SystemOptions, 'board'> = {},
): Promise<System> {
  const { app, args } = settled;
  const runtime = await runtimeOf(target, args, io);
  const application = applicationOptions(args, io);
  await runBuildCommand(settled, io);
  return systemOf(target, {
    ...options,
    ...runtime,
    ...application,
    fragments: args.texts('fragment').map((dir) => resolve(dir)),
    words: kernelWords(args),
    ...(app === undefined ? {} : { app, settings: applicationSettings(settled) }),
  });
}

/** Reads `--append`. @throws UsageError for what no loader could hand to the kernel */
function kernelWords(args: Parsed): readonly string[] {
  const text = args.text('append')?.trim() ?? '';
  if (!/^[ -~]*$/.test(text))
    throw new UsageError(`--append ${visible(text)}: expected one line of printable ASCII, as the kernel takes it`);
  return text === '' ? [] : [text];
}

/**
 * Chooses the progress display. Progress goes to standard error, so that a command's output can be piped. With
 * `--json`, progress is the output and goes to standard output.
 */
export function progressFor({ json }: Building, io: Io): Progress {
  if (json) return jsonProgress((text) => io.stdout.write(text));
  return io.stderr.isTTY ? terminalProgress() : plainProgress((text) => io.stderr.write(text));
}

/** Builds steps. What a step needs of this machine is looked for when it is known which ones are to be built. */
export async function buildSteps(steps: readonly Step[], building: Building, io: Io): Promise<BuildResult> {
  const sharing = await sharingOf(building, io);
  return withInstalled(io, () => buildOnce(steps, building, sharing, io));
}

async function buildOnce(
  steps: readonly Step[],
  building: Building,
  sharing: Sharing | undefined,
  io: Io,
): Promise<BuildResult> {
  const progress = progressFor(building, io);
  const { jobs } = building;
  try {
    return await build(steps, {
      progress,
      jobs,
      check: checkTools,
      signal: io.signal,
      ...(sharing ? { sharing } : {}),
    });
  } finally {
    await progress.close();
  }
}
