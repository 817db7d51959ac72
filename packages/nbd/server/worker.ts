/** A thread that serves one connection at a time and then gives it back. */
import { parentPort, workerData } from 'node:worker_threads';
import { openShared, type Recipe } from '@nodeos/block';
import { serveBlocking, type ThreadResult } from './blocking.js';
import type { Terms } from './handshake.js';
import { Counts } from './metrics.js';
import { Pool } from '../wire/pool.js';
import { loadSocketCalls } from './socket-calls.js';

/** Data to start a thread with. */
export interface ThreadData {
  /** Nonzero if the event loop wants the connection back. */
  readonly recalled: Int32Array;
  readonly cells: Float64Array;
}

/** A connection to serve for a while. */
export interface Visit {
  readonly fd: number;
  readonly bytes: Uint8Array;
  readonly terms: Terms;
  readonly recipe: Recipe;
}

/** A message from a thread. */
export type ThreadMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'back'; readonly result: ThreadResult }
  | {
      readonly kind: 'log';
      readonly event: 'protocol' | 'request' | 'export';
      readonly code: string | undefined;
      readonly message: string;
    };

/** Largest amount of unused buffers per thread, in bytes. */
const SPARE = 1 << 20;

const { recalled, cells } = workerData as ThreadData;
const counts = new Counts(cells);
const pool = new Pool(SPARE);
const post = (message: ThreadMessage): void => parentPort?.postMessage(message);

const logError = (event: 'protocol' | 'request' | 'export', error: unknown): void => {
  const { code, message } = error as NodeJS.ErrnoException;
  post({ kind: 'log', event, code, message });
};

async function serve(visit: Visit): Promise<void> {
  const backend = await openShared(visit.recipe).catch((error: unknown) => logError('export', error));
  const isRecalled = (): boolean => Atomics.load(recalled, 0) !== 0;
  const calls = await loadSocketCalls();
  const result =
    backend && calls
      ? await serveBlocking({ ...visit, backend, counts, pool, calls, isRecalled, log: logError })
      : { bytes: visit.bytes, unsent: [], served: 0, failed: true };
  post({ kind: 'back', result });
}

parentPort?.on('message', (visit: Visit) => void serve(visit));
await loadSocketCalls();
post({ kind: 'ready' });
