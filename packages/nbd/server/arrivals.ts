/**
 * Takes what arrives at a blocking socket. Sleeping until then costs a wake-up, which for a client that asks one thing
 * at a time is most of what a request costs. So the thread first looks for a short while (busy polling), as long as
 * that pays: with a slow client, or on a busy machine, it sleeps at once.
 */
import { readSync } from 'node:fs';
import type { SocketCalls } from './socket-calls.js';

/** Milliseconds to look for the next request before sleeping. */
const LOOK_MS = 0.05;
/** Milliseconds of an arrival that looking might have caught: what was slept includes the wake-up. */
const QUICK_MS = 0.1;
/** Looking is worth while from so many points on. A quick arrival adds one, looking in vain costs VAIN. */
const [WORTHWHILE, MAX_POINTS, VAIN] = [8, 64, 8];

export class Arrivals {
  /** How much the last arrivals speak for looking. */
  #points = 0;

  constructor(
    private readonly fd: number,
    private readonly receive: SocketCalls['receive'],
  ) {}

  /** @returns the number of bytes; 0 after the timeout or at the end of the stream: the event loop finds out which */
  take(into: Uint8Array): number {
    if (this.#points >= WORTHWHILE) {
      const count = this.#look(into);
      if (count >= 0) return count;
    }
    const since = performance.now();
    const count = readArrived(this.fd, into);
    if (performance.now() - since < QUICK_MS) this.#reward();
    return count;
  }

  /** @returns a negative number if nothing arrived */
  #look(into: Uint8Array): number {
    const end = performance.now() + LOOK_MS;
    do {
      const count = this.receive(this.fd, into);
      if (count < 0) continue;
      this.#reward();
      return count;
    } while (performance.now() < end);
    this.#points -= VAIN;
    return -1;
  }

  #reward(): void {
    if (this.#points < MAX_POINTS) this.#points++;
  }
}

/** Whether a signal cut a system call short. */
export const isInterrupted = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EINTR';

function readArrived(fd: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (error) {
      if (!isInterrupted(error)) return 0;
    }
  }
}
