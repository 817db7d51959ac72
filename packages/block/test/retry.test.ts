/** The delays of `retry`. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fault, memory, retry, type RetryOptions } from '../index.js';
import { errorOf } from './helpers.js';

const waits = vi.hoisted((): number[] => []);
vi.mock('node:timers/promises', async (original) => ({
  ...(await original<object>()),
  setTimeout: (milliseconds: number) => {
    waits.push(milliseconds);
    return Promise.resolve();
  },
}));
afterEach(() => vi.restoreAllMocks());

/** Milliseconds before each attempt but the first, on a device that always fails. */
async function waitsOf(options: RetryOptions): Promise<readonly number[]> {
  waits.length = 0;
  const device = retry(fault(memory(10), [{ transient: true }]), options);
  expect((await errorOf(() => device.read(new Uint8Array(1), 0))).code).toBe('EIO');
  return waits.slice();
}

describe('the delay of retry', () => {
  it('doubles up to a limit', async () => {
    expect(await waitsOf({ jitter: 0 })).toEqual([100, 200, 400, 800, 1600]);
    expect(await waitsOf({ jitter: 0, delay: 7, attempts: 4 })).toEqual([7, 14, 28]);
    expect(await waitsOf({ jitter: 0, delay: 1000, longestDelay: 3000 })).toEqual([1000, 2000, 3000, 3000, 3000]);
  });

  it('is random in part: by half, or by the given jitter', async () => {
    const chance = vi.spyOn(Math, 'random');
    for (const value of [0, 0.5, 1, 0.25, 0.75]) chance.mockReturnValueOnce(value);
    expect(await waitsOf({})).toEqual([100, 150, 200, 700, 1000]);
    chance.mockReturnValue(1);
    expect(await waitsOf({ jitter: 0.1, attempts: 3 })).toEqual([90, 180]);
  });

  it('does not begin if it would exceed the total time', async () => {
    expect(await waitsOf({ jitter: 0, total: 250 })).toEqual([100, 200]);
  });
});
