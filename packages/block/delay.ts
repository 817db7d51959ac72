/** A slow device, for tests and demonstrations. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { around, type Operation } from './around.js';
import type { BlockBackend } from './backend.js';

/** Milliseconds to wait before a request. 0 waits for one turn of the event loop. */
export type Delay = (operation: Operation, offset: number, length: number) => number;

/** `inner` with a delay before each request. */
export function delay(inner: BlockBackend, wait: number | Delay): BlockBackend {
  const delayOf = typeof wait === 'number' ? () => wait : wait;
  return around(inner, async (operation, offset, length, work) => {
    const milliseconds = delayOf(operation, offset, length);
    await (milliseconds > 0 ? sleep(milliseconds) : nextTurn());
    return work();
  });
}
