/**
 * nodeos dev: boots an application whose files are the host's own folder, and starts it again in the running machine when
 * they change.
 */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { NodeosError, UsageError, visible } from '@nodeos/base';
import { APP_ID, type DevReport } from '@nodeos/contract';
import { parsePublish } from '@nodeos/vm';
import { printMessage, type Command, type Io, type Option, type Parsed, type Unlisted } from '../command.js';
import { runBuildCommand } from '../config/build-command.js';
import { settle, type Settled } from '../config/settle.js';
import { DevLink } from '../dev/link.js';
import { watchFiles, type Watching } from '../dev/watch.js';
import { CONTAINER_OPTIONS } from '../container/options.js';
import { boot, startCommand, type Extras } from './start.js';

const TAG = 'app';
const INSPECTOR = 9229;

/** Options of `nodeos start` that make no sense for files that are shared. */
const WITHOUT: readonly string[] = [
  ...['exec', 'root', 'persist', 'trace', 'format', 'firmware', 'drive', 'timeout', 'qemu'],
  ...Object.keys(CONTAINER_OPTIONS),
];

/** Files that are in the image, or that decide what is. */
const NEEDS_BOOT = /^(?:package\.json|package-lock\.json|npm-shrinkwrap\.json|\.npmrc|nodeos\.config\.\w+)$/;

export const devCommand: Unlisted<Command> = {
  operands: '[APP] [-- QEMU ARGUMENTS]',
  options: {
    inspect: { type: 'boolean', help: 'debug inside the machine: the inspector is on port 9229 of this host' },
    'inspect-port': { type: 'string', value: 'PORT', help: 'the same on another port' },
    ...(Object.fromEntries(Object.entries(startCommand.options).filter(([name]) => !WITHOUT.includes(name))) as Record<
      string,
      Option
    >),
  },
  examples: [
    ['nodeos dev', 'the application of this folder: http://127.0.0.1:8080'],
    ['nodeos dev examples/fastify --inspect', 'with an inspector for an editor, or chrome://inspect'],
  ],
  async run(args, io) {
    const [folder = '.', ...more] = args.operands;
    if (more.length > 0) throw new UsageError(`nodeos dev takes one application, not also ${more.join(' ')}`);
    for (;;) {
      const settled = await settle(folder, args, io);
      const status = await runOnce(settled, io);
      if (status !== undefined) return status;
    }
  },
};

/** Runs one machine. @returns its exit status; undefined if a change needs a new one */
async function runOnce(settled: Settled, io: Io): Promise<number | undefined> {
  const app = resolve(settled.app ?? '.');
  await checkReadable(app);
  const again = new AbortController();
  const signal = AbortSignal.any([io.signal, again.signal]);
  const link = new DevLink((report) => show(report, io));
  const files = await watchFiles(app, (paths) => onChange(paths, { app, settled, io, again, link, files }));
  try {
    return await boot(settled, { ...io, signal }, extrasOf(app, settled.args, link));
  } catch (error) {
    if (!again.signal.aborted || io.signal.aborted) throw error;
    return undefined;
  } finally {
    await files.close();
  }
}

/**
 * The machine sees the files with this host's owners and permissions. @throws NodeosError if its application could not
 * read the folder
 */
async function checkReadable(app: string): Promise<void> {
  const { mode, uid } = await stat(app);
  if (uid === APP_ID || (mode & 0o005) === 0o005) return;
  throw new NodeosError(`${app}: its permissions let nobody else in, and the application is somebody else`, {
    hint: `chmod o+rx ${app}`,
  });
}

function extrasOf(path: string, args: Parsed, link: DevLink): Extras {
  const port = args.number('inspect-port', 1) ?? (args.flag('inspect') ? INSPECTOR : undefined);
  return {
    share: { path, tag: TAG },
    control: link,
    dev: { tag: TAG, ...(port === undefined ? {} : { inspect: INSPECTOR }) },
    publish: port === undefined ? [] : [parsePublish(`${port}:${INSPECTOR}`)],
  };
}

interface Change {
  readonly app: string;
  readonly settled: Settled;
  readonly io: Io;
  /** Ends the machine, for a new one. */
  readonly again: AbortController;
  readonly link: DevLink;
  readonly files: Watching;
}

async function onChange(paths: readonly string[], { app, settled, io, again, link, files }: Change): Promise<void> {
  // An editor writes to another file first, which is gone by now.
  const there = paths.filter((path) => existsSync(path));
  const names = (there.length > 0 ? there : paths).map((path) => relative(app, path));
  const named = visible(names.length === 1 ? (names[0] ?? '') : `${names[0] ?? ''} and ${names.length - 1} more`);
  if (names.some((name) => NEEDS_BOOT.test(name))) {
    printMessage(io, `${named} changed: the machine starts anew`);
    again.abort(new NodeosError(`${named} changed`));
    return;
  }
  const started = performance.now();
  try {
    await runBuildCommand(settled, io);
  } catch (error) {
    io.signal.throwIfAborted();
    printMessage(io, `${(error as Error).message}; the application runs on`);
    return;
  } finally {
    if (settled.values.build !== undefined) await files.settle(); // what the command has made is no change
  }
  link.restart(() =>
    printMessage(io, `${named} changed: answers again after ${((performance.now() - started) / 1000).toFixed(2)} s`),
  );
}

function show(report: DevReport, io: Io): void {
  if (report.event === 'ended') {
    const how = report.signal === undefined ? `with status ${report.status}` : `by ${visible(report.signal)}`;
    printMessage(io, `the application has ended ${how}: it starts again when a file changes`);
  } else if (report.event === 'failed')
    printMessage(io, `the application cannot be started: ${visible(report.message)}`);
}
