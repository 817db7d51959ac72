/** Two ways to be stopped: when what is under way is done, and at once. */
import type { Io } from '../command.js';

/** What `work` gives; after the second Ctrl-C it is not waited for. @throws the reason of the first Ctrl-C then */
export function unlessKilled<T>(work: Promise<T>, { kill, signal }: Pick<Io, 'kill' | 'signal'>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (kill.aborted) stop();
    kill.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => kill.removeEventListener('abort', stop));
  });
}

/** A signal for the beginning of something that lasts: once `begin` is done, Ctrl-C is somebody else's matter. */
export async function whileOpening<T>(
  signal: AbortSignal | undefined,
  begin: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const onAbort = (): void => inner.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', onAbort, { once: true });
  return begin(inner.signal).finally(() => signal?.removeEventListener('abort', onAbort));
}
