/** A device that repeats requests after transient errors. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { around } from './around.js';
import type { BlockBackend } from './backend.js';
import { recover } from './maybe.js';

export interface RetryOptions {
  /** Attempts per request at most, the first one included. Default 6. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; doubled for each later one. Default 100. */
  readonly delay?: number;
  /** Longest time between two attempts in milliseconds. Default 5000. */
  readonly longestDelay?: number;
  /** Milliseconds after which no further attempt begins. Default 60000. */
  readonly total?: number;
  /** Stops waiting: the request fails with its last error. */
  readonly signal?: AbortSignal;
  /** Whether another attempt may succeed. Default: errors with `transient: true`. */
  readonly transient?: (error: unknown) => boolean;
  /**
   * The random share of the delay, from 0 to 1, so that many clients do not come back at the same time. Default 0.5.
   */
  readonly jitter?: number;
}

const isTransient = (error: unknown): boolean => (error as { transient?: unknown } | undefined)?.transient === true;

/**
 * `inner`, whose requests are repeated after transient errors. `flush` is never repeated: after a failed flush, earlier
 * writes may be lost, and a second flush that succeeds would hide that.
 */
export function retry(inner: BlockBackend, options: RetryOptions = {}): BlockBackend {
  const { attempts = 6, delay = 100, longestDelay = 5000, total = 60_000, jitter = 0.5 } = options;
  const { transient = isTransient } = options;
  const closed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, closed.signal]) : closed.signal;
  setMaxListeners(0, signal); // one listener for each waiting request
  const device = around(inner, (operation, _offset, _length, work) => {
    if (operation === 'flush') return work();
    return recover(work, async (failed) => {
      let error = failed;
      const end = performance.now() + total;
      for (let attempt = 1; attempt < attempts && transient(error); attempt++) {
        const longest = Math.min(longestDelay, delay * 2 ** (attempt - 1));
        const wait = longest * (1 - jitter * Math.random());
        if (performance.now() + wait > end || !(await sleepUnlessAborted(wait, signal))) break;
        try {
          return await work();
        } catch (retryError) {
          error = retryError;
        }
      }
      throw error;
    });
  });
  return Object.assign(device, {
    close: () => {
      closed.abort();
      return inner.close();
    },
  });
}

const sleepUnlessAborted = (milliseconds: number, signal: AbortSignal): Promise<boolean> =>
  sleep(milliseconds, undefined, { signal }).then(
    () => true,
    () => false,
  );
