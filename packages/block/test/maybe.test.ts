import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { chain, forEachInTurn, isPromise, whenSettled, recover, cache, regions, retry, stats } from '../index.js';
import type { BlockBackend } from '../backend.js';
import { errorOf } from './helpers.js';

/** A promise of another kind, which only has `then`. */
function thenable<T>(work: () => T): Promise<T> {
  const promise = nextTurn().then(work);
  return { then: promise.then.bind(promise) } as unknown as Promise<T>;
}

const failing = (): Promise<number> =>
  thenable(() => {
    throw new Error('failed');
  });

describe('a thenable', () => {
  it('is awaited', async () => {
    expect(isPromise(thenable(() => 1))).toBe(true);
    expect([undefined, null, 5, [], {}].some((value) => isPromise<unknown>(value))).toBe(false);
    expect(
      await chain(
        thenable(() => 1),
        (value) => value + 1,
      ),
    ).toBe(2);
    const done: unknown[] = [];
    expect(
      await whenSettled(
        () => thenable(() => 1),
        (error) => done.push(error),
      ),
    ).toBe(1);
    expect((await errorOf(() => whenSettled(failing, (error) => done.push(error)))).message).toBe('failed');
    expect(done).toEqual([undefined, new Error('failed')]);
    expect(await recover(failing, () => 3)).toBe(3);
    const steps: number[] = [];
    await forEachInTurn([1, 2, 3], (step) => thenable(() => void steps.push(step)));
    expect(steps).toEqual([1, 2, 3]);
  });

  it('is awaited by the wrappers', async () => {
    const read: BlockBackend['read'] = (into) => thenable(() => void into.fill(7));
    const inner = { size: 8192, read, close: () => undefined };
    const device = stats(retry(cache(regions([{ length: 8192, source: { backend: inner } }]))));
    const into = new Uint8Array(100);
    await device.read(into, 5);
    expect(into.every((byte) => byte === 7)).toBe(true);
    expect(device.snapshot().read.count).toBe(1);
  });
});
