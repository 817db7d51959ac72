/** Answers that may come at once: an answer that is there stays synchronous, so that a fast backend stays fast. */
import type { MaybePromise } from './backend.js';

/** Any thenable is one: a backend's promises may be of another kind, of which only `then` is known. */
export const isPromise = <T>(value: MaybePromise<T>): value is Promise<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/** `next` with the answer: at once if it is there. */
export function after<T, U>(answer: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(answer) ? Promise.resolve(answer).then(next) : next(answer);
}

/** What `work` answers; if it throws or rejects, what `failed` makes of it. */
export function rescued<T>(work: () => MaybePromise<T>, failed: (error: unknown) => MaybePromise<T>): MaybePromise<T> {
  try {
    const answer = work();
    return isPromise(answer) ? Promise.resolve(answer).catch(failed) : answer;
  } catch (error) {
    return failed(error);
  }
}

/** Calls `done` after `work`, whether it fails (then with the error) or not, and passes on what `work` gives. */
export function observed<T>(work: () => MaybePromise<T>, done: (error?: unknown) => void): MaybePromise<T> {
  let answer: MaybePromise<T>;
  try {
    answer = work();
  } catch (error) {
    done(error);
    throw error;
  }
  if (isPromise(answer))
    return Promise.resolve(answer).then(
      (value) => (done(), value),
      (error: unknown) => {
        done(error);
        throw error;
      },
    );
  done();
  return answer;
}

/** One step after the other; a promise only if a step gives one. */
export function inTurn<T>(items: Iterable<T>, step: (item: T) => MaybePromise<void>): MaybePromise<void> {
  const iterator = items[Symbol.iterator]();
  for (let item = iterator.next(); item.done !== true; item = iterator.next()) {
    const answer = step(item.value);
    if (isPromise(answer)) return Promise.resolve(answer).then(() => theRest(iterator, step));
  }
}

async function theRest<T>(iterator: Iterator<T>, step: (item: T) => MaybePromise<void>): Promise<void> {
  for (let item = iterator.next(); item.done !== true; item = iterator.next()) await step(item.value);
}
