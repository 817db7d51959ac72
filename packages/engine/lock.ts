/**
 * A lock between processes. proper-lockfile keeps it fresh by touching it. A killed process's lock is taken over after
 * STALE_MS, on any filesystem and across process-id namespaces.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { storageAdvice } from './storage-advice.js';

const STALE_MS = 10_000;
const POLL_MS = 200;

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once if another process holds the lock. */
  readonly onWait?: () => void;
}

/**
 * Runs `work` while holding the lock. Waits for the lock without a time limit.
 * @throws NodeosError if the lock cannot be made, or if `work` fails after the lock was lost
 * @throws any other error that `work` throws
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  // A process stopped for longer than STALE_MS can lose its lock to another. That matters only if the work fails.
  let lostError: Error | undefined;
  const release = await acquire(path, options, (error) => (lostError = error));
  try {
    return await work();
  } catch (error) {
    if (lostError === undefined || options.signal?.aborted) throw error;
    throw new NodeosError(`lost the lock ${path} to another process (${lostError.message}): ${messageOf(error)}`, {
      hint: `this process did not run for ${STALE_MS / 1000} s, or the lock was removed: try again`,
      cause: error,
    });
  } finally {
    await release().catch(() => undefined); // the lock may be lost with its folder; only the work counts
  }
}

/** Loaded when something is locked, because loading takes time. */
const library = async (): Promise<typeof import('proper-lockfile')> => (await import('proper-lockfile')).default;

/** Whether a running process holds the lock. */
export async function isLocked(path: string): Promise<boolean> {
  return (await library()).check(path, { realpath: false, stale: STALE_MS, lockfilePath: path });
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
      return await (await library()).lock(path, settings);
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
