/** The requests that copyOnWrite makes to the devices below it. contract.test.ts checks that the bytes are right. */
import { describe, expect, it } from 'vitest';
import type { BlockBackend, ZeroOptions } from '../backend.js';
import { copyOnWrite, fault, formatDelta, memory, overlayLayout, readOnly, type Fault } from '../index.js';
import { errorOf, noise, readAll } from './helpers.js';

const SIZE = 1 << 20;
const BLOCK = 4096;

async function formatted(): Promise<BlockBackend> {
  const layout = overlayLayout(SIZE, BLOCK);
  const delta = memory(layout.size);
  await formatDelta(delta, layout);
  return delta;
}

/** The device with a `close` that does nothing. */
const kept = (device: BlockBackend): BlockBackend => ({ ...device, size: device.size, close: () => undefined });

describe('copyOnWrite', () => {
  it.each<[what: string, failing: Fault]>([
    ['of the data', { operations: ['flush'], nth: 1 }],
    ['of the bitmap', { operations: ['flush'], nth: 2 }],
    ['whose write of the bitmap', { operations: ['write'], range: { offset: 4096, length: 4096 }, nth: 1 }],
  ])('stores with the next flush the bits of a flush %s that failed', async (_what, failing) => {
    const delta = await formatted();
    const device = await copyOnWrite(readOnly(memory(SIZE)), fault(delta, [failing]));
    await device.write?.(noise(BLOCK, 1), BLOCK);
    expect((await errorOf(() => device.flush?.())).code).toBe('EIO');
    await device.flush?.();
    const again = await copyOnWrite(readOnly(memory(SIZE)), kept(delta));
    expect((await readAll(again)).subarray(BLOCK, 2 * BLOCK)).toEqual(noise(BLOCK, 1));
  });

  it('passes on the options of zero', async () => {
    const delta = await formatted();
    const seen: (ZeroOptions | undefined)[] = [];
    const device = await copyOnWrite(readOnly(memory(SIZE)), {
      ...delta,
      size: delta.size,
      zero: (_offset, _length, options) => void seen.push(options),
    });
    const options = { mayTrim: false, fast: true };
    await device.zero?.(0, BLOCK, options); // from the base
    await device.zero?.(10, 100, options); // in the delta
    expect(seen).toEqual([options, options]);
  });

  it('prefetches only what comes from the base', async () => {
    const hints: [number, number][] = [];
    const prefetch = (offset: number, length: number): void => void hints.push([offset, length]);
    const device = await copyOnWrite({ ...memory(SIZE), size: SIZE, prefetch }, await formatted());
    await device.write?.(noise(BLOCK, 1), 2 * BLOCK);
    await device.prefetch?.(100, 4 * BLOCK);
    expect(hints).toEqual([
      [100, 2 * BLOCK - 100],
      [3 * BLOCK, BLOCK + 100],
    ]);
  });
});
