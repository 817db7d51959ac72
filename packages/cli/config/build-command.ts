/** Runs the configuration's build command on this machine. */
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { NodeosError, visible } from '@nodeos/base';
import { run } from '@nodeos/engine';
import { printMessage, type Io } from '../command.js';
import type { Settled } from './settle.js';

/**
 * Runs the command in the application's folder, as npm runs scripts: by a shell that finds the commands of
 * dependencies. Its output goes to standard error.
 * @throws NodeosError if the command fails
 */
export async function runBuildCommand({ app, args, values }: Settled, io: Io): Promise<void> {
  const { build } = values;
  if (app === undefined || build === undefined) return;
  if (args.flag('explain')) return printMessage(io, `not run, because of --explain: ${build}`);
  printMessage(io, `${app}: ${build}`);
  try {
    await run('sh', ['-c', build], {
      cwd: app,
      path: [join(app, 'node_modules/.bin')],
      environment: 'host',
      signal: io.signal,
      onLine: (line) => void io.stderr.write(`  ${visible(stripVTControlCharacters(line))}\n`),
      lastLines: 0,
    });
  } catch (error) {
    io.signal.throwIfAborted();
    if (!(error instanceof NodeosError)) throw error;
    throw new NodeosError(`the build command of ${app} failed: ${error.message}`, {
      hint: `run it there: ${build}`,
      cause: error,
    });
  }
}
