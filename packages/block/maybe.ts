/**
 * Helpers for values that may be promises. An answer that is not a promise stays synchronous, so a fast backend stays
 * fast.
 */
import type { MaybePromise } from './backend.js';

/** Accepts any thenable: only `then` can be assumed of the promises of other backends. */
export const isPromise = <T>(value: MaybePromise<T>): value is Promise<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/** Calls `next` with the answer, synchronously unless the answer is a promise. */
export function chain<T, U>(answer: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(answer) ? Promise.resolve(answer).then(next) : next(answer);
}

/** The result of `work`, or the result of `onError` if `work` throws or rejects. */
export function recover<T>(work: () => MaybePromise<T>, onError: (error: unknown) => MaybePromise<T>): MaybePromise<T> {
  try {
    const answer = work();
    return isPromise(answer) ? Promise.resolve(answer).catch(onError) : answer;
  } catch (error) {
    return onError(error);
  }
}

/** Calls `onSettled` after `work`, with the error if `work` fails. Passes on the result or the error of `work`. */
export function whenSettled<T>(work: () => MaybePromise<T>, onSettled: (error?: unknown) => void): MaybePromise<T> {
  let answer: MaybePromise<T>;
  try {
    answer = work();
  } catch (error) {
    onSettled(error);
    throw error;
  }
  if (isPromise(answer))
    return Promise.resolve(answer).then(
      (value) => (onSettled(), value),
      (error: unknown) => {
        onSettled(error);
        throw error;
      },
    );
  onSettled();
  return answer;
}

/** Runs one step after the other. Returns a promise only if a step does. */
export function forEachInTurn<T>(items: Iterable<T>, step: (item: T) => MaybePromise<void>): MaybePromise<void> {
  const iterator = items[Symbol.iterator]();
  for (let item = iterator.next(); item.done !== true; item = iterator.next()) {
    const answer = step(item.value);
    if (isPromise(answer)) return Promise.resolve(answer).then(() => continueAsync(iterator, step));
  }
}

async function continueAsync<T>(iterator: Iterator<T>, step: (item: T) => MaybePromise<void>): Promise<void> {
  for (let item = iterator.next(); item.done !== true; item = iterator.next()) {
    const answer = step(item.value);
    if (isPromise(answer)) await answer;
  }
}
