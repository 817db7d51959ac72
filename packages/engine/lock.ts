/**
 * A lock between processes. proper-lockfile keeps it fresh by touching it, so the lock of a killed process is taken
 * over after STALE_MS, on any filesystem and across process-id namespaces.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { storageAdvice } from './storage-advice.js';

const STALE_MS = 10_000;
const POLL_MS = 200;

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once if another process has the lock. */
  readonly onWait?: () => void;
}

/**
 * Runs `work` while holding the lock; waits without limit for whoever holds it.
 * @throws NodeosError if the lock cannot be made; whatever `work` throws.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  // A lock that another process took over (this one was stopped for longer than STALE_MS) matters only if the work fails.
  let lost: Error | undefined;
  const release = await acquire(path, options, (error) => (lost = error));
  try {
    return await work();
  } catch (error) {
    if (lost === undefined || options.signal?.aborted) throw error;
    throw new NodeosError(`lost the lock ${path} to another process (${lost.message}): ${messageOf(error)}`, {
      hint: `this process did not run for ${STALE_MS / 1000} s, or the lock was removed: try again`,
      cause: error,
    });
  } finally {
    await release().catch(() => undefined); // it may have been lost with its folder; the work is what counts
  }
}

/** Whether a running process holds the lock. */
export function isLocked(path: string): Promise<boolean> {
  return lockfile.check(path, { realpath: false, stale: STALE_MS, lockfilePath: path });
}

async function acquire(
  path: string,
  { signal, onWait }: LockOptions,
  onCompromised: (error: Error) => void,
): Promise<() => Promise<void>> {
  const settings = { realpath: false, stale: STALE_MS, update: STALE_MS / 5, lockfilePath: path, onCompromised };
  let waiting = false;
  for (;;) {
    signal?.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true });
      return await lockfile.lock(path, settings);
    } catch (error) {
      if (codeOf(error) !== 'ELOCKED') {
        const hint = storageAdvice(error);
        throw new NodeosError(`cannot lock ${path}: ${messageOf(error)}`, {
          cause: error,
          ...(hint === undefined ? {} : { hint }),
        });
      }
    }
    if (!waiting) onWait?.();
    waiting = true;
    await sleep(POLL_MS, undefined, signal ? { signal } : {}).catch(() => undefined);
  }
}
