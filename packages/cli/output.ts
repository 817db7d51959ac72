/** Handles failures of the standard streams: the reader may go away, or the disk may be full. */
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { printMessage } from './command.js';

/** Nobody reads standard output any more. Pending work stops as after a signal, but without a message. */
export class ReaderGoneError extends NodeosError {
  /** The exit status of a program that SIGPIPE has ended. */
  static readonly STATUS = 141;

  constructor() {
    super('nobody reads standard output any more');
  }
}

/**
 * Handles stream errors, so that they no longer end the process. Aborts `stop` when the reader of standard output goes
 * away. Reports any other write error once.
 * @returns a function that maps the command's exit status to the process's: 0 becomes a failure if output was lost
 */
export function watchOutput(
  { stdout, stderr }: Pick<NodeJS.Process, 'stdout' | 'stderr'>,
  stop: AbortController,
  kill: AbortSignal,
): (status: number) => Promise<number> {
  let failed: number | undefined;
  stderr.on('error', () => undefined); // there is nowhere left to report it
  stdout.on('error', (error) => {
    if (codeOf(error) === 'EPIPE') {
      failed ??= ReaderGoneError.STATUS;
      stop.abort(new ReaderGoneError());
    } else if (failed === undefined) {
      failed = 1;
      printMessage({ stderr }, `cannot write to standard output: ${messageOf(error)}`);
    }
  });
  return async (status) => {
    const unwritten = [stdout, stderr].filter((stream) => stream.writableLength > 0);
    await Promise.all(unwritten.map((stream) => flushed(stream, stop.signal, kill)));
    await turn(); // then a failure of the last write is known too
    return status === 0 ? (failed ?? 0) : status;
  };
}

/** Milliseconds that a reader has to take the rest after an interruption. */
const LAST_MS = 1000;

/**
 * Resolves when everything is written. After an interruption it waits only LAST_MS, because a pager may wait for a key.
 */
async function flushed(stream: NodeJS.WritableStream, stop: AbortSignal, kill: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    const startTimer = (): void => void (timer ??= setTimeout(resolve, LAST_MS));
    stream.write('', () => resolve());
    kill.addEventListener('abort', () => resolve(), { once: true });
    stop.addEventListener('abort', startTimer, { once: true });
    if (stop.aborted) startTimer();
  });
  clearTimeout(timer);
}

/** Buffered bytes above which the source has to wait. */
const MAX_WAITING = 1 << 20;

/**
 * A sink for endless output, such as a machine's console. A slow reader makes the source wait. After `stop` is aborted,
 * data that the reader does not take is dropped, so that nothing waits for it.
 * @returns a function that writes a chunk; it may return a promise that resolves when the sink can take more
 */
export function sinkOf(
  stream: NodeJS.WritableStream & { readonly writableLength?: number },
  stop: AbortSignal,
): (chunk: Uint8Array | string) => Promise<void> | undefined {
  let waiting: Promise<void> | undefined;
  const isFull = (): boolean => (stream.writableLength ?? 0) > MAX_WAITING;
  return (chunk) => {
    if (stop.aborted && isFull()) return undefined;
    stream.write(chunk);
    if (stop.aborted || !isFull()) return undefined;
    waiting ??= new Promise<void>((resolve) => {
      const done = (): void => {
        waiting = undefined;
        for (const event of ['drain', 'close', 'error']) stream.off(event, done);
        stop.removeEventListener('abort', done);
        resolve();
      };
      for (const event of ['drain', 'close', 'error']) stream.once(event, done);
      stop.addEventListener('abort', done, { once: true });
    });
    return waiting;
  };
}
