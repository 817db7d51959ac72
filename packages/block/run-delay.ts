/**
 * How long this thread has waited for a processor: what the clock counts, and nobody else is to blame for. The second
 * number of /proc/thread-self/schedstat, in nanoseconds; a look takes 2 µs.
 * https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
 */
import { openSync, readSync } from 'node:fs';

const MILLISECOND = 1e6;
/** Bytes: more than three numbers of 64 bits. */
const ROOM = 80;

let look: (() => number) | undefined;

/** @returns milliseconds; 0 where the kernel does not tell */
export function runDelay(): number {
  return (look ??= opened())();
}

/** The file is of the thread that opens it, and is open as long as that lives. */
function opened(): () => number {
  const text = Buffer.alloc(ROOM);
  try {
    const fd = openSync('/proc/thread-self/schedstat', 'r');
    return () => {
      const [, waited] = text.toString('latin1', 0, readSync(fd, text, 0, ROOM, 0)).split(' ', 2);
      return Number(waited) / MILLISECOND;
    };
  } catch {
    return () => 0;
  }
}
