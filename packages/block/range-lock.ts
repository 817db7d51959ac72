/** Locks on ranges. A request waits for all earlier requests that overlap it. */
import { observed } from './maybe.js';
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
  const all = new Set<Held>();
  return (first, end, work) => {
    const before = all.size === 0 ? [] : [...all].filter((held) => held.first < end && first < held.end);
    const mine: Held = { first, end };
    all.add(mine);
    const locked = (): ReturnType<typeof work> =>
      observed(work, () => {
        all.delete(mine);
        mine.release?.();
      });
    return before.length === 0 ? locked() : Promise.all(before.map(released)).then(locked);
  };
}

const released = (held: Held): Promise<void> =>
  (held.released ??= new Promise((resolve) => {
    held.release = resolve;
  }));
