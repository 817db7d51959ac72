/**
 * Serves a connection without an event loop, in a thread of its own: one read for all requests that have arrived, and
 * one write for their replies. Nothing lies between the kernel and the requests: no epoll, no callbacks.
 *
 * Only synchronous requests are served here. Anything else (a request that the backend answers later, a flush, a large
 * request, the end) stays in the inbox, and goes back to the event loop together with the connection.
 */
import { writeSync } from 'node:fs';
import type { BlockBackend } from '@nodeos/block';
import { Arrivals, isInterrupted } from './arrivals.js';
import { Budget, FLOOR } from './budget.js';
import { Inbox } from '../wire/inbox.js';
import type { Counts } from './metrics.js';
import type { Pool } from '../wire/pool.js';
import { COMMAND, COMMAND_FLAG, type ReceivedRequest } from '../wire/protocol.js';
import type { SocketCalls } from './socket-calls.js';
import { Transmission, type Line, type Place } from './transmission.js';
import type { Terms } from './handshake.js';

/** What goes back to the event loop. */
export interface ThreadResult {
  /** Received bytes whose requests have not begun. */
  readonly bytes: Uint8Array;
  /** Replies that the client has not taken yet. */
  readonly unsent: readonly Uint8Array[];
  /** Number of requests that were begun here. */
  readonly served: number;
  /** Whether the thread could not open the device. */
  readonly failed: boolean;
}

export interface BlockingOptions {
  /** The socket's descriptor. It blocks, with a short timeout. */
  readonly fd: number;
  /** Bytes that arrived before the move. */
  readonly bytes: Uint8Array;
  readonly terms: Terms;
  readonly backend: BlockBackend;
  readonly counts: Counts;
  readonly pool: Pool;
  readonly calls: SocketCalls;
  /** Whether the event loop wants the connection back. */
  isRecalled(): boolean;
  log(event: 'protocol' | 'request', error: unknown): void;
}

const SERVED_HERE: ReadonlySet<number> = new Set([
  COMMAND.READ,
  COMMAND.WRITE,
  COMMAND.TRIM,
  COMMAND.CACHE,
  COMMAND.WRITE_ZEROES,
  COMMAND.BLOCK_STATUS,
]);

/** Serves the connection until it must go back to the event loop. */
export function serveBlocking(options: BlockingOptions): Promise<ThreadResult> {
  const { fd, terms, backend, counts, pool } = options;
  const unsent: Buffer[] = [];
  let [served, isLooping, isReturning] = [0, true, false];
  const inbox = new Inbox();
  inbox.unshift(Buffer.from(options.bytes));
  const line: Line = {
    write(bytes, onWritten) {
      const remaining = isReturning && unsent.length > 0 ? bytes : writeNow(fd, bytes);
      if (remaining.length > 0) {
        isReturning = true;
        unsent.push(Buffer.from(remaining));
      }
      onWritten();
    },
    cork: () => undefined,
    uncork: () => undefined,
    destroyed: false,
    destroy: () => undefined,
    on: () => undefined,
    unsent: () => 0,
  };
  const place: Place = {
    accepts(request, cost) {
      if (!isReturning && canServeHere(request, cost)) return true;
      isReturning = true;
      return false;
    },
    onStarted(isSynchronous) {
      served++;
      if (!isSynchronous) isReturning = true;
    },
    schedule: (write) => {
      if (!isLooping) process.nextTick(write);
    },
  };
  const arrivals = new Arrivals(fd, options.calls.receive);
  const budget = new Budget(0);
  const transmission = new Transmission(terms, backend, {
    inbox,
    line,
    place,
    pool,
    metrics: counts,
    allowance: FLOOR,
    budget,
    makeExclusive: () => undefined,
    log: (event, error) => options.log(event, error),
  });
  for (;;) {
    transmission.flush();
    if (isReturning || options.isRecalled()) break;
    const into = inbox.onread.buffer();
    const count = arrivals.take(into);
    if (count === 0) break;
    inbox.onread.callback(count, into);
  }
  isLooping = false;
  return new Promise((resolve) => {
    transmission.suspend((bytes = Buffer.alloc(0)) => resolve({ bytes, unsent, served, failed: false }), true);
  });
}

/**
 * Flushes and resizes concern all threads, so no single thread may do them. A request above the floor needs the shared
 * budget.
 */
function canServeHere(request: ReceivedRequest | undefined, cost: number): boolean {
  return request !== undefined && SERVED_HERE.has(request.type) && !(request.flags & COMMAND_FLAG.FUA) && cost <= FLOOR;
}

/** @returns the bytes that could not be written, because the client takes nothing or has gone */
function writeNow(fd: number, bytes: Uint8Array): Uint8Array {
  let remaining = bytes;
  while (remaining.length > 0) {
    try {
      remaining = remaining.subarray(writeSync(fd, remaining));
    } catch (error) {
      if (!isInterrupted(error)) return remaining;
    }
  }
  return remaining;
}
