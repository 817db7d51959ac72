/** Sets the clock by time servers. */
import { resolveName } from './dns.js';
import { askTime } from './sntp.js';
import type { Syscalls } from './syscalls.js';

/** Milliseconds after which no other server is asked. */
const BUDGET_MS = 3000;

/**
 * Sets the clock by the first server that tells the time. Waits for at most 6 s.
 * @param earliest seconds since 1970 that the time cannot be before
 * @param tolerance a clock that is wrong by less, in seconds, is left alone, so that it does not jump back and forth
 * @returns the number of seconds that the clock was wrong by
 * @throws Error with the reason of each server
 */
export function setTime(sys: Syscalls, servers: readonly string[], earliest: number, tolerance: number): number {
  const failures: string[] = [];
  const started = sys.now();
  for (const server of servers) {
    if ((sys.now() - started) / 1000 > BUDGET_MS) break;
    try {
      const time = askTime(sys, resolveName(sys, server), earliest);
      const difference = time - sys.clock();
      if (Math.abs(difference) >= tolerance) sys.setClock(time);
      return difference;
    } catch (error) {
      const message = (error as Error).message;
      failures.push(message.startsWith(`${server}:`) ? message : `${server}: ${message}`);
    }
  }
  throw new Error(failures.join('; '));
}
