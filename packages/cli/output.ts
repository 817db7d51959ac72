/** The standard streams of this process, which can fail: who reads them goes away, or their disk is full. */
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/build';
import { say } from './command.js';

/** Nobody reads standard output any more: what is under way is given up, as after a signal, but without a word. */
export class ReaderGoneError extends NodeosError {
  /** As of a program that SIGPIPE has ended. */
  static readonly STATUS = 141;

  constructor() {
    super('nobody reads standard output any more');
  }
}

/**
 * From now on a failure of the streams ends nothing by itself. Aborts `stop` when the reader of standard output has gone;
 * says of anything else, once, that standard output cannot be written.
 * @returns what makes of an exit status the one of the process: it is no success if not everything could be written
 */
export function watchOutput(
  { stdout, stderr }: Pick<NodeJS.Process, 'stdout' | 'stderr'>,
  stop: AbortController,
): (status: number) => Promise<number> {
  let failed: number | undefined;
  stderr.on('error', () => undefined); // there is no place left to tell it
  stdout.on('error', (error) => {
    if (codeOf(error) === 'EPIPE') {
      failed ??= ReaderGoneError.STATUS;
      stop.abort(new ReaderGoneError());
    } else if (failed === undefined) {
      failed = 1;
      say({ stderr }, `cannot write to standard output: ${messageOf(error)}`);
    }
  });
  return async (status) => {
    if (stdout.writableLength > 0) await new Promise<void>((resolve) => stdout.write('', () => resolve()));
    await turn(); // of the last write, too, the failure is known then
    return status === 0 ? (failed ?? 0) : status;
  };
}
