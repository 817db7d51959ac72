/** A device that is asked again when it fails for a passing reason. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { around } from './around.js';
import type { BlockBackend } from './backend.js';
import { rescued } from './maybe.js';

export interface RetryOptions {
  /** How often a request is made at most. Default 6. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; doubled for each later one. Default 100. */
  readonly delay?: number;
  /** Milliseconds between two attempts at most. Default 5000. */
  readonly longestDelay?: number;
  /** Milliseconds after which no other attempt begins. Default 60000. */
  readonly total?: number;
  /** Ends the waiting: the request fails with what it failed with last. */
  readonly signal?: AbortSignal;
  /** Whether another attempt may succeed. Default: errors with `transient: true`. */
  readonly transient?: (error: unknown) => boolean;
  /** From 0 to 1: which part of the delay is by chance, so that many clients do not come back together. Default 0.5. */
  readonly jitter?: number;
}

const isTransient = (error: unknown): boolean => (error as { transient?: unknown } | undefined)?.transient === true;

/**
 * `inner`, whose requests are made again after errors that pass. All but `flush`: after one that failed, what was
 * written before may be lost, and another one that succeeds would hide it.
 */
export function retry(inner: BlockBackend, options: RetryOptions = {}): BlockBackend {
  const { attempts = 6, delay = 100, longestDelay = 5000, total = 60_000, jitter = 0.5 } = options;
  const { transient = isTransient } = options;
  const closed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, closed.signal]) : closed.signal;
  setMaxListeners(0, signal); // one for each request that waits
  const device = around(inner, (operation, _offset, _length, work) => {
    if (operation === 'flush') return work();
    return rescued(work, async (failed) => {
      let error = failed;
      const end = performance.now() + total;
      for (let attempt = 1; attempt < attempts && transient(error); attempt++) {
        const longest = Math.min(longestDelay, delay * 2 ** (attempt - 1));
        const wait = longest * (1 - jitter * Math.random());
        if (performance.now() + wait > end || !(await slept(wait, signal))) break;
        try {
          return await work();
        } catch (another) {
          error = another;
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

const slept = (milliseconds: number, signal: AbortSignal): Promise<boolean> =>
  sleep(milliseconds, undefined, { signal }).then(
    () => true,
    () => false,
  );
