/** Devices that several threads have open. */
import { writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
// The compiled package, because threads load that one, and recipes are kept per copy of the module.
import {
  cache,
  file,
  memory,
  openShared,
  readOnly,
  recipeOf,
  slice,
  trace,
  withClose,
  type BlockBackend,
} from '@nodeos/block';
import { noise, scratch } from './helpers.js';

const path = scratch();
const MIB = 1 << 20;
const SIZE = 4 * MIB;

/** A thread that opens the device too, and runs one request after the other. */
function threadWith(device: BlockBackend): (method: string, ...args: unknown[]) => Promise<unknown> {
  const url = import.meta.resolve('@nodeos/block');
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const opening = import(workerData.url).then(({ openShared }) => openShared(workerData.recipe));
    parentPort.on('message', async ({ method, args }) => {
      const device = await opening;
      const answer = method === 'size' ? device.size : await device[method](...args);
      parentPort.postMessage([answer, args[0]]);
    });`;
  const worker = new Worker(program, { eval: true, workerData: { url, recipe: recipeOf(device)?.() } });
  onTestFinished(() => worker.terminate().then(() => undefined));
  return (method, ...args) =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve).once('error', reject).postMessage({ method, args });
    });
}

async function disk(): Promise<BlockBackend> {
  const name = path('shared');
  writeFileSync(name, noise(SIZE, 1));
  return file(name);
}

const KINDS: Readonly<Record<string, () => BlockBackend | Promise<BlockBackend>>> = {
  memory: () => memory(SIZE),
  'memory with small pages': () => memory(SIZE, { pageSize: 4096 }),
  file: disk,
  slice: async () => slice(await disk(), 5000, MIB),
  'slice of a slice of memory': () => slice(slice(memory(SIZE), 1000, 2 * MIB), 500, MIB),
};

describe.each(Object.entries(KINDS))('%s', (_, make) => {
  it('is the same device in another thread', async () => {
    const device = await make();
    await device.write?.(noise(1000, 2), 10);
    const there = threadWith(device);
    expect(await there('size')).toEqual([device.size, undefined]);
    expect(((await there('read', new Uint8Array(1000), 10)) as unknown[])[1]).toEqual(new Uint8Array(noise(1000, 2)));
    await there('write', new Uint8Array(noise(70_000, 3)), 300_000);
    const into = new Uint8Array(70_000);
    await device.read(into, 300_000);
    expect(Buffer.from(into).equals(noise(70_000, 3))).toBe(true);
    await there('trim', 262_144, 131_072);
    await there('zero', 300_000, 100);
    const [extents] = (await there('extents', 0, device.size)) as unknown[];
    expect(extents).toEqual(await device.extents?.(0, device.size));
    await device.read(into.subarray(0, 100), 300_000);
    expect(into.subarray(0, 100).every((byte) => byte === 0)).toBe(true);
    // Closing it there does not close it here.
    await there('close');
    await device.read(into, 300_000);
    await device.close();
  });
});

describe('a recipe', () => {
  it('is passed on only by wrappers that add nothing', async () => {
    const device = memory(SIZE);
    for (const same of [device, withClose(device, () => undefined), readOnly(device), slice(device, 0, MIB)])
      expect(recipeOf(same)).toBeDefined();
    const file = await disk();
    const others = [
      cache(device),
      trace(device, () => undefined),
      { ...device },
      Object.create(device) as BlockBackend,
    ];
    for (const other of others) expect(recipeOf(other)).toBeUndefined();
    expect(recipeOf(memory(2 ** 40))).toBeUndefined();
    await file.close();
  });

  it('of a read-only device opens a read-only device', async () => {
    const recipe = recipeOf(readOnly(memory(SIZE)))?.();
    const there = recipe && (await openShared(recipe));
    expect(there?.size).toBe(SIZE);
    for (const method of ['write', 'flush', 'trim', 'zero', 'resize']) expect(there).not.toHaveProperty(method);
  });

  it('is opened by its module or not at all', async () => {
    const module = import.meta.resolve('@nodeos/block');
    await expect(openShared({ module, name: 'nothing', args: {} })).rejects.toThrow(/has no nothing/);
  });
});

describe('memory that was shared', () => {
  it('still forgets what is trimmed', async () => {
    const device = memory(SIZE);
    recipeOf(device)?.();
    await device.write?.(noise(SIZE, 1), 0);
    await device.trim?.(0, SIZE);
    expect(device.extents?.(0, SIZE)).toEqual([{ offset: 0, length: SIZE, hole: true, zero: true }]);
    await device.zero?.(0, SIZE, { mayTrim: false });
    const into = new Uint8Array(SIZE).fill(1);
    await device.read(into, 0);
    expect(into.every((byte) => byte === 0)).toBe(true);
  });
});
