/** Being stopped at once, by the second Ctrl-C, while the first one waits for what is under way. */
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

/** The same of work that is in vain when it was to stop. @throws the reason of the first Ctrl-C, when the work is done */
export async function unlessStopped<T>(work: Promise<T>, io: Pick<Io, 'kill' | 'signal'>): Promise<T> {
  const result = await unlessKilled(work, io);
  io.signal.throwIfAborted();
  return result;
}
