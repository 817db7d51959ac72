/**
 * Whether a request to a file is made at once, on this thread, or through the thread pool.
 *
 * A `pread` that finds its bytes in the page cache takes one or two microseconds; the way through the thread pool and back
 * takes several more, and tens of them on a busy machine. One that does not find them waits for the disk, and the whole
 * process with it. Node.js cannot ask the kernel which it will be (preadv2 with RWF_NOWAIT), so the clock says afterwards: after a
 * request that was slow, the next ones go through the thread pool, and then one is made at once again, to see.
 *
 * On a busy machine a thread that has lost its processor comes back milliseconds later, and whatever it was doing then
 * looks slow. So the time in which it waited for a processor is taken off; the kernel counts it (run-delay.ts).
 *
 * How many do is doubled by each request that was slow, and becomes one less by each that was quick. So where one
 * in a hundred waits for the disk, the pace settles at about a hundred through the pool after each slow one; where every second
 * does, it grows to the most there is. A file that has come into the cache has all of its requests made at once soon.
 */

import { runDelay } from './run-delay.js';

export interface Pace {
  /** Begins a request of `length` bytes. @returns what `end` wants, or a negative number: use the thread pool */
  begin(length: number): number;
  /** Ends a request that was made at once. */
  end(begun: number, length: number): void;
}

export interface PaceOptions {
  /** Bytes: longer requests always use the thread pool, whose price is little beside theirs. Default 256 KiB. */
  readonly largest?: number;
  /** Milliseconds from which a request of no bytes was slow. Default 1. */
  readonly slow?: number;
  /** Milliseconds on top of that for each MiB. Default 1. */
  readonly perMiB?: number;
  /** How many requests go through the pool after the first slow one. Default 8. */
  readonly least?: number;
  /** How many do at most. Default 1024. */
  readonly most?: number;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
  /** Milliseconds in which this thread has waited for a processor; only differences count. Default: as the kernel says. */
  readonly delay?: () => number;
}

const MIB = 1 << 20;
/** Milliseconds for which a look at the delay is good. */
const FRESH = 1;

export function pace({
  largest = 256 << 10,
  slow = 1,
  perMiB = 1,
  least = 8,
  most = 1024,
  now = () => performance.now(),
  delay = runDelay,
}: PaceOptions = {}): Pace {
  let penalty = least;
  let pooled = 0;
  let looked = -Infinity;
  let before = 0;

  function isSlow(begun: number, length: number): boolean {
    const [limit, time] = [slow + (length / MIB) * perMiB, now() - begun];
    return time > limit && time - (delay() - before) > limit;
  }

  return {
    begin: (length) => {
      if (length > largest) return -1;
      if (pooled > 0) {
        pooled--;
        return -1;
      }
      const begun = now();
      if (begun - looked > FRESH) {
        looked = begun;
        before = delay();
      }
      return begun;
    },
    end: (begun, length) => {
      if (!isSlow(begun, length)) {
        penalty = Math.max(least, penalty - 1);
        return;
      }
      pooled = penalty;
      penalty = Math.min(most, penalty * 2);
    },
  };
}
