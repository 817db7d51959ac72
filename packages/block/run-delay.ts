/**
 * The time that this thread has waited for a processor: the clock counts it, but no request caused it. It is the second
 * number of /proc/thread-self/schedstat, in nanoseconds. Reading it takes 2 µs.
 * https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
 */
import { openSync, readSync } from 'node:fs';

const MILLISECOND = 1e6;
/** Bytes: more than three 64-bit numbers need. */
const BUFFER_SIZE = 80;

let readDelay: (() => number) | undefined;

/** @returns milliseconds; 0 if the kernel does not report them */
export function runDelay(): number {
  return (readDelay ??= openReader())();
}

/** The file belongs to the thread that opens it, and stays open for the life of that thread. */
function openReader(): () => number {
  const text = Buffer.alloc(BUFFER_SIZE);
  try {
    const fd = openSync('/proc/thread-self/schedstat', 'r');
    return () => {
      const [, waited] = text.toString('latin1', 0, readSync(fd, text, 0, BUFFER_SIZE, 0)).split(' ', 2);
      return Number(waited) / MILLISECOND;
    };
  } catch {
    return () => 0;
  }
}
