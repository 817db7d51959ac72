/** Several pieces of one piece of work under way at once. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds that answers which come at once may keep the process from everything else. */
const TURN = 20;

/**
 * Does `work` for each item, `workers` of them at once; each worker has a number from 0. After the first failure, and
 * when the signal aborts, nothing more is begun.
 * @throws RangeError unless `workers` is a whole number from 1; what failed first, or the signal's reason, when nothing is
 * under way any more
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
  const all = await Promise.allSettled(Array.from({ length: workers }, (_, number) => worker(number)));
  await items.return(undefined);
  signal?.throwIfAborted();
  const failed = all.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
}
