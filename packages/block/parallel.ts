/** Runs several pieces of one task at once. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds after which synchronous answers must let the event loop run. */
const TURN = 20;

/**
 * Runs `work` for each item, `workers` of them at once. Workers are numbered from 0. After the first failure, or once
 * the signal aborts, no new item is started.
 * @throws RangeError unless `workers` is a whole number of at least 1; the error of the first worker that failed, or
 * the signal's reason, once no work is under way
 */
export async function inParallel<T>(
  items: AsyncGenerator<T>,
  workers: number,
  work: (item: T, worker: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  if (!Number.isSafeInteger(workers) || workers < 1) throw new RangeError(`${workers} at once`);
  let stopped = false;
  async function worker(number: number): Promise<void> {
    try {
      for (let turn = performance.now(); ;) {
        signal?.throwIfAborted();
        const next = await items.next();
        if (next.done === true || stopped) return;
        await work(next.value, number);
        if (performance.now() - turn < TURN) continue;
        await nextTurn();
        turn = performance.now();
      }
    } catch (error) {
      stopped = true;
      throw error;
    }
  }
  const results = await Promise.allSettled(Array.from({ length: workers }, (_, number) => worker(number)));
  await items.return(undefined);
  signal?.throwIfAborted();
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
