/**
 * Decides whether a request to a file is made at once, on this thread, or through the thread pool.
 *
 * A `pread` of cached bytes takes one or two microseconds. The way through the thread pool and back takes several more,
 * and tens of them on a busy machine. A `pread` of bytes that are not cached waits for the disk and stops the whole
 * process. Node.js cannot ask the kernel in advance (preadv2 with RWF_NOWAIT), so the clock tells afterwards. After a
 * slow request the next ones go through the thread pool. Then one is made at once again as a test.
 *
 * On a busy machine a thread may lose its processor for milliseconds, and whatever it was doing then looks slow. So the
 * time spent waiting for a processor is subtracted; the kernel counts it (run-delay.ts).
 *
 * Each slow request doubles the number of requests that use the pool, and each quick one decreases it by one. If one
 * request in a hundred waits for the disk, the pace settles at about a hundred pool requests after each slow one. If
 * every second request waits, the number grows to its maximum. Once a file is in the cache, all of its requests soon
 * are made at once.
 */

import { runDelay } from './run-delay.js';

export interface Pace {
  /**
   * Begins a request of `length` bytes. @returns a value to pass to `end`, or a negative number: use the thread pool
   */
  begin(length: number): number;
  /** Ends a request that was made at once, without the pool. */
  end(started: number, length: number): void;
}

export interface PaceOptions {
  /** Bytes. Longer requests always use the thread pool, whose cost hardly matters for them. Default 256 KiB. */
  readonly largest?: number;
  /** Milliseconds from which a request of 0 bytes counts as slow. Default 1. */
  readonly slow?: number;
  /** Milliseconds to add to `slow` per MiB of the request. Default 1. */
  readonly perMiB?: number;
  /** Requests that go through the pool after the first slow one. Default 8. */
  readonly least?: number;
  /** Largest number of requests that go through the pool after a slow one. Default 1024. */
  readonly most?: number;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
  /**
   * Milliseconds that this thread has waited for a processor; only differences count. Default: the kernel's counter.
   */
  readonly delay?: () => number;
}

const MIB = 1 << 20;
/** Milliseconds for which one reading of the delay stays valid. */
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
  let lastChecked = -Infinity;
  let delayBefore = 0;

  function isSlow(started: number, length: number): boolean {
    const [limit, time] = [slow + (length / MIB) * perMiB, now() - started];
    return time > limit && time - (delay() - delayBefore) > limit;
  }

  return {
    begin: (length) => {
      if (length > largest) return -1;
      if (pooled > 0) {
        pooled--;
        return -1;
      }
      const started = now();
      if (started - lastChecked > FRESH) {
        lastChecked = started;
        delayBefore = delay();
      }
      return started;
    },
    end: (started, length) => {
      if (!isSlow(started, length)) {
        penalty = Math.max(least, penalty - 1);
        return;
      }
      pooled = penalty;
      penalty = Math.min(most, penalty * 2);
    },
  };
}
