/** Links that carry one transfer after the other, in the order in which they begin. */
import type { Clock } from './clock.js';

/** One direction of a link. */
export interface Link {
  readonly bytesPerMillisecond: number;
  /** The time from which it is free. */
  free: number;
}

export const linkOf = (bytesPerSecond: number): Link => ({ bytesPerMillisecond: bytesPerSecond / 1000, free: 0 });

/** @returns when the first byte goes, and when the last one has gone */
function carry(link: Link, now: number, bytes: number): [begin: number, end: number] {
  const begin = Math.max(now, link.free);
  link.free = begin + bytes / link.bytesPerMillisecond;
  return [begin, link.free];
}

/**
 * Sends bytes out of one link and into another one. The far link begins when the first byte is there, and ends no earlier
 * than the last one is: two idle links of the same speed take no longer than one.
 * @param latency milliseconds from one end to the other
 * @param ahead milliseconds until the bytes are there to be sent. It is the same for all that goes out of a link, so what is
 * asked for first goes first, and nothing has to be kept until then. Default 0
 */
export function send(
  clock: Clock,
  {
    from,
    to,
    bytes,
    latency,
    ahead = 0,
  }: {
    readonly from: Link;
    readonly to: Link;
    readonly bytes: number;
    readonly latency: number;
    readonly ahead?: number;
  },
  done: () => void,
): void {
  const [begin, end] = carry(from, clock.now + ahead, bytes);
  clock.after(begin + latency - clock.now, () => {
    const last = Math.max(carry(to, clock.now, bytes)[1], end + latency);
    to.free = last;
    clock.after(last - clock.now, done);
  });
}
