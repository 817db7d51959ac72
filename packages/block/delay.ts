/** A device that takes its time, for tests and demonstrations. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { around, type Operation } from './around.js';
import type { BlockBackend } from './backend.js';

/** What a request waits for before it is made, in milliseconds; 0: a turn of the event loop. */
export type Delay = (operation: Operation, offset: number, length: number) => number;

/** `inner`, each request of it made after a time. */
export function delay(inner: BlockBackend, wait: number | Delay): BlockBackend {
  const waiting = typeof wait === 'number' ? () => wait : wait;
  return around(inner, async (operation, offset, length, work) => {
    const milliseconds = waiting(operation, offset, length);
    await (milliseconds > 0 ? sleep(milliseconds) : nextTurn());
    return work();
  });
}
