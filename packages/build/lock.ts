/**
 * A lock between processes. proper-lockfile keeps it fresh by touching it, so the lock of a killed process is taken
 * over after STALE_MS, on any filesystem and across process-id namespaces.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { codeOf, NodeosError, storageAdvice } from './errors.js';

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
  const release = await acquire(path, options);
  try {
    return await work();
  } finally {
    await release().catch(() => undefined); // it may have been lost with its folder; the work is what counts
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions): Promise<() => Promise<void>> {
  let waiting = false;
  for (;;) {
    signal?.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true });
      return await lockfile.lock(path, { realpath: false, stale: STALE_MS, update: STALE_MS / 5, lockfilePath: path });
    } catch (error) {
      if (codeOf(error) !== 'ELOCKED') {
        const hint = storageAdvice(error);
        throw new NodeosError(`cannot lock ${path}: ${String(error)}`, hint === undefined ? {} : { hint });
      }
    }
    if (!waiting) onWait?.();
    waiting = true;
    await sleep(POLL_MS, undefined, signal ? { signal } : {}).catch(() => undefined);
  }
}
