/** Waiting that ends when there is nobody left to wait for. */
import type { MaybePromise } from '@nodeos/block';

/** What `work` answers. @throws the signal's reason if that is there first; what `work` does then is dropped */
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
    // Each wait of a long handshake would stay there otherwise.
    signal.removeEventListener('abort', stop);
  }
}
