/** Writes that begin to be durable before a flush. */
import { expect, it } from 'vitest';
import { flushEarly, memory, type BlockBackend } from '../index.js';

const MIB = 1 << 20;

interface Flush {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A device whose flushes end when they are told to. */
function slow(): { device: BlockBackend; flushes: Flush[] } {
  const flushes: Flush[] = [];
  const flush = (): Promise<void> => new Promise((resolve, reject) => void flushes.push({ resolve, reject }));
  return { device: flushEarly({ ...memory(8 * MIB), size: 8 * MIB, flush }, 2 * MIB), flushes };
}

const bytes = Buffer.alloc(MIB, 'x');

it('a flush begins after so many bytes, and writes do not wait for it', async () => {
  const { device, flushes } = slow();
  await device.write?.(bytes, 0);
  expect(flushes).toHaveLength(0);
  for (let index = 1; index < 6; index++) await device.write?.(bytes, index * MIB);
  expect(flushes).toHaveLength(1);
  const order: string[] = [];
  const asked = Promise.resolve(device.flush?.()).then(() => order.push('flushed'));
  await new Promise(setImmediate);
  expect(flushes).toHaveLength(1); // the one that runs is waited for: it may have begun before the last write
  flushes[0]?.resolve();
  await new Promise(setImmediate);
  expect(flushes).toHaveLength(2);
  order.push('second');
  flushes[1]?.resolve();
  await asked;
  expect(order).toEqual(['second', 'flushed']);
  for (let index = 0; index < 2; index++) await device.write?.(bytes, index * MIB);
  expect(flushes).toHaveLength(3);
  flushes[2]?.resolve();
});

it('no early flush begins beside one that was asked for', async () => {
  const { device, flushes } = slow();
  const asked = device.flush?.();
  await new Promise(setImmediate);
  for (let index = 0; index < 4; index++) await device.write?.(bytes, index * MIB);
  expect(flushes).toHaveLength(1);
  flushes[0]?.resolve();
  await asked;
  await device.write?.(bytes, 0);
  expect(flushes).toHaveLength(2);
  flushes[1]?.resolve();
});

it('what fails early is told by the next flush, once', async () => {
  const { device, flushes } = slow();
  for (let index = 0; index < 2; index++) await device.write?.(bytes, index * MIB);
  flushes[0]?.reject(new Error('the disk is full'));
  await expect(device.flush?.()).rejects.toThrow('the disk is full');
  const asked = device.flush?.();
  await new Promise(setImmediate);
  flushes[1]?.resolve();
  await asked;
});

it('close waits for a flush that runs', async () => {
  const { device, flushes } = slow();
  for (let index = 0; index < 2; index++) await device.write?.(bytes, index * MIB);
  let isClosed = false;
  const closing = Promise.resolve(device.close()).then(() => (isClosed = true));
  await new Promise(setImmediate);
  expect(isClosed).toBe(false);
  flushes[0]?.resolve();
  await closing;
});
