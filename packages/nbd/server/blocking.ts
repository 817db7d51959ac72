/**
 * A connection served without an event loop, in a thread of its own: one read for as many requests as have arrived, and
 * one write for their replies. Nothing is between the kernel and the requests: no epoll, no call-backs.
 *
 * Only what is done at once is done here. Whatever else comes (a request that the backend answers later, a flush, a large
 * request, the end) stays in the inbox, and goes back to the event loop with the connection.
 */
import { readSync, writeSync } from 'node:fs';
import type { BlockBackend } from '@nodeos/block';
import { Budget, FLOOR } from './budget.js';
import { Inbox } from '../wire/inbox.js';
import type { Counts } from './metrics.js';
import type { Pool } from '../wire/pool.js';
import { COMMAND, COMMAND_FLAG, type ReceivedRequest } from '../wire/protocol.js';
import { Transmission, type Line, type Place } from './transmission.js';
import type { Terms } from './handshake.js';

/** What the event loop gets back. */
export interface Return {
  /** Has arrived, and is not begun. */
  readonly bytes: Uint8Array;
  /** Replies that the client has not taken. */
  readonly unsent: readonly Uint8Array[];
  /** Requests that were begun here. */
  readonly served: number;
  /** The device could not be opened here. */
  readonly failed: boolean;
}

export interface BlockingOptions {
  /** Of the socket; it blocks, and not for long at a time. */
  readonly fd: number;
  /** Has arrived before. */
  readonly bytes: Uint8Array;
  readonly terms: Terms;
  readonly backend: BlockBackend;
  readonly counts: Counts;
  readonly pool: Pool;
  /** Whether the connection is wanted back. */
  isRecalled(): boolean;
  log(event: 'protocol' | 'request', error: unknown): void;
}

const HERE: ReadonlySet<number> = new Set([
  COMMAND.READ,
  COMMAND.WRITE,
  COMMAND.TRIM,
  COMMAND.CACHE,
  COMMAND.WRITE_ZEROES,
  COMMAND.BLOCK_STATUS,
]);

/** Serves the connection as long as this is the place for it. */
export function serveBlocking(options: BlockingOptions): Promise<Return> {
  const { fd, terms, backend, counts, pool } = options;
  const unsent: Buffer[] = [];
  let [served, isLooping, isLeaving] = [0, true, false];
  const inbox = new Inbox();
  inbox.put(Buffer.from(options.bytes));
  const line: Line = {
    write(bytes, gone) {
      const left = isLeaving && unsent.length > 0 ? bytes : written(fd, bytes);
      if (left.length > 0) {
        isLeaving = true;
        unsent.push(Buffer.from(left));
      }
      gone();
    },
    cork: () => undefined,
    uncork: () => undefined,
    destroyed: false,
    destroy: () => undefined,
    on: () => undefined,
    unsent: () => 0,
  };
  const place: Place = {
    takes(request, cost) {
      if (!isLeaving && isForHere(request, cost)) return true;
      isLeaving = true;
      return false;
    },
    begun(atOnce) {
      served++;
      if (!atOnce) isLeaving = true;
    },
    soon: (write) => {
      if (!isLooping) process.nextTick(write);
    },
  };
  const budget = new Budget(0);
  const transmission = new Transmission(terms, backend, {
    inbox,
    line,
    place,
    pool,
    metrics: counts,
    allowance: FLOOR,
    budget,
    alone: () => undefined,
    log: (event, error) => options.log(event, error),
  });
  for (;;) {
    transmission.flush();
    if (isLeaving || options.isRecalled()) break;
    const into = inbox.onread.buffer();
    const count = arrived(fd, into);
    if (count === 0) break;
    inbox.onread.callback(count, into);
  }
  isLooping = false;
  return new Promise((resolve) => {
    transmission.suspend((bytes = Buffer.alloc(0)) => resolve({ bytes, unsent, served, failed: false }), true);
  });
}

/** A flush and a new size are of all threads, and so of none. What is more than the floor has to be shared with others. */
function isForHere(request: ReceivedRequest | undefined, cost: number): boolean {
  return request !== undefined && HERE.has(request.type) && !(request.flags & COMMAND_FLAG.FUA) && cost <= FLOOR;
}

const isInterrupted = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EINTR';

/** @returns bytes; 0 if there are none for a while, or there will be none: the event loop finds out which */
function arrived(fd: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (error) {
      if (!isInterrupted(error)) return 0;
    }
  }
}

/** @returns what could not be written: the client takes nothing, or has gone */
function written(fd: number, bytes: Uint8Array): Uint8Array {
  let left = bytes;
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(fd, left));
    } catch (error) {
      if (!isInterrupted(error)) return left;
    }
  }
  return left;
}
