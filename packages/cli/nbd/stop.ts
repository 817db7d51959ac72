/** The first Ctrl-C waits for pending work. The second one stops at once. */
import type { Io } from '../command.js';

/** Waits for `work`, but not after the second Ctrl-C. @throws the reason of the first Ctrl-C in that case */
export function unlessKilled<T>(work: Promise<T>, { kill, signal }: Pick<Io, 'kill' | 'signal'>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (kill.aborted) stop();
    kill.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => kill.removeEventListener('abort', stop));
  });
}

/**
 * Like `unlessKilled`, for work whose result is useless after an interruption. @throws the reason of the first Ctrl-C
 * once the work is done
 */
export async function unlessStopped<T>(work: Promise<T>, io: Pick<Io, 'kill' | 'signal'>): Promise<T> {
  const result = await unlessKilled(work, io);
  io.signal.throwIfAborted();
  return result;
}
