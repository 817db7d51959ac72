/** Locks on ranges. A request waits for all earlier requests that overlap it. */
import { whenSettled } from './maybe.js';
import type { MaybePromise } from './backend.js';

/** Runs `work` once no earlier overlapping range is locked, synchronously if there is none. `end` is exclusive. */
export type RangeLock = <T>(first: number, end: number, work: () => MaybePromise<T>) => MaybePromise<T>;

interface Held {
  readonly first: number;
  readonly end: number;
  /** Set by the first request that waits for this one. */
  released?: Promise<void>;
  release?: () => void;
}

export function rangeLock(): RangeLock {
  const locks = new Set<Held>();
  return (first, end, work) => {
    const blocking = locks.size === 0 ? [] : [...locks].filter((held) => held.first < end && first < held.end);
    const own: Held = { first, end };
    locks.add(own);
    const locked = (): ReturnType<typeof work> =>
      whenSettled(work, () => {
        locks.delete(own);
        own.release?.();
      });
    return blocking.length === 0 ? locked() : Promise.all(blocking.map(released)).then(locked);
  };
}

const released = (held: Held): Promise<void> =>
  (held.released ??= new Promise((resolve) => {
    held.release = resolve;
  }));
