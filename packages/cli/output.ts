/** The standard streams of this process, which can fail: who reads them goes away, or their disk is full. */
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
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
  kill: AbortSignal,
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
    const late = [stdout, stderr].filter((stream) => stream.writableLength > 0);
    await Promise.all(late.map((stream) => written(stream, stop.signal, kill)));
    await turn(); // of the last write, too, the failure is known then
    return status === 0 ? (failed ?? 0) : status;
  };
}

/** Milliseconds that a reader has, after an interruption, to take what is left. */
const LAST_MS = 1000;

/** Resolves when everything is written; after an interruption, also when the reader takes nothing: a pager waits for keys. */
async function written(stream: NodeJS.WritableStream, stop: AbortSignal, kill: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    const hurry = (): void => void (timer ??= setTimeout(resolve, LAST_MS));
    stream.write('', () => resolve());
    kill.addEventListener('abort', () => resolve(), { once: true });
    stop.addEventListener('abort', hurry, { once: true });
    if (stop.aborted) hurry();
  });
  clearTimeout(timer);
}

/** Bytes that wait for the reader of a stream before its source has to wait too. */
const MOST_WAITING = 1 << 20;

/**
 * A place for what comes without end, such as a machine's console. A reader that takes nothing makes the source wait;
 * once the work is to stop, what the reader does not take is dropped, so that nobody waits for it.
 * @returns a function that writes, and may return a promise for when more can be taken
 */
export function sinkOf(
  stream: NodeJS.WritableStream & { readonly writableLength?: number },
  stop: AbortSignal,
): (chunk: Uint8Array | string) => Promise<void> | undefined {
  let waiting: Promise<void> | undefined;
  const isFull = (): boolean => (stream.writableLength ?? 0) > MOST_WAITING;
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
