/** Waits that end early when their result is no longer needed. */
import type { MaybePromise } from '@nodeos/block';

/** The result of `work`. @throws the signal's reason if the signal aborts first; a later result of `work` is ignored */
export async function unlessAborted<T>(signal: AbortSignal, work: MaybePromise<T>): Promise<T> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    // Otherwise a long handshake would collect one listener per wait.
    signal.removeEventListener('abort', stop);
  }
}
