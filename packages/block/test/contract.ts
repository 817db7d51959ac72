/** What every backend and every wrapper must do: random requests, compared with an array of bytes. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { errorOf, noise, readAll } from './helpers.js';

export interface Subject {
  readonly name: string;
  /** A new device that holds the bytes. */
  readonly make: (content: Uint8Array) => Promise<BlockBackend> | BlockBackend;
  /** Methods that must be there, beside `read` and `close`; no others may be. */
  readonly methods: readonly (keyof BlockBackend)[];
  readonly runs?: number;
}

const MOST = 40_000;
export const CHANGES = ['write', 'flush', 'trim', 'zero'] as const;
const OPTIONAL = [...CHANGES, 'extents', 'prefetch', 'resize'] as const;

interface Place {
  readonly at: number;
  readonly for: number;
}
type Step =
  | ({ readonly op: 'read' | 'trim' | 'extents' | 'prefetch' } & Place)
  | ({ readonly op: 'write'; readonly seed: number } & Place)
  | ({ readonly op: 'zero'; readonly mayTrim: boolean; readonly fast: boolean } & Place)
  | { readonly op: 'flush' }
  | { readonly op: 'resize'; readonly size: number }
  | { readonly op: 'together'; readonly steps: readonly ({ readonly seed: number } & Place)[] };

// Ends of blocks and pages are where the mistakes are.
const number = fc.oneof(
  fc.nat(MOST),
  fc.nat(80).map((count) => count * 512),
  fc.nat(10).map((count) => count * 4096),
);
const place = { at: number, for: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constantFrom('read', 'trim', 'extents', 'prefetch'), ...place }),
  fc.record({ op: fc.constant('write' as const), seed: fc.nat(), ...place }),
  fc.record({ op: fc.constant('zero' as const), mayTrim: fc.boolean(), fast: fc.boolean(), ...place }),
  fc.record({ op: fc.constant('flush' as const) }),
  fc.record({ op: fc.constant('resize' as const), size: number }),
  fc.record({
    op: fc.constant('together' as const),
    steps: fc.array(fc.record({ seed: fc.nat(), ...place }), { minLength: 2, maxLength: 6 }),
  }),
);

/** Runs the suite on one subject, inside a `describe`. */
export function behavesAsBlockBackend({ name, make, methods, runs = 60 }: Subject): void {
  it(`${name}: has the methods that it should`, async () => {
    const device = await make(noise(5000, 1));
    expect(device.size).toBe(5000);
    expect(OPTIONAL.filter((method) => Object.hasOwn(device, method)).sort()).toEqual([...methods].sort());
    await device.close();
  });

  it(`${name}: refuses what is outside`, async () => {
    const device = await make(noise(5000, 1));
    const bytes = new Uint8Array(2);
    for (const offset of [-1, 4999, 5000, 0.5, NaN, Infinity, Number.MAX_SAFE_INTEGER]) {
      expect(await errorOf(() => device.read(bytes, offset))).toBeInstanceOf(RangeError);
      for (const method of ['trim', 'zero', 'extents', 'prefetch'] as const)
        if (device[method]) expect(await errorOf(() => device[method]?.(offset, 2))).toBeInstanceOf(RangeError);
      if (device.write) expect(await errorOf(() => device.write?.(bytes, offset))).toBeInstanceOf(RangeError);
    }
    if (device.resize) expect(await errorOf(() => device.resize?.(-1))).toBeInstanceOf(RangeError);
    await device.read(new Uint8Array(0), 5000);
    expect(await readAll(device)).toEqual(noise(5000, 1));
    await device.close();
  });

  it(`${name}: holds what was written`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(MOST), fc.nat(), fc.array(step, { maxLength: 25 }), async (size, seed, steps) => {
        const content = noise(size, seed);
        const device = await make(content.slice());
        const model = { bytes: content };
        for (const one of steps) await carryOut(device, model, one);
        expect(Buffer.compare(await readAll(device), model.bytes)).toBe(0);
        expect(device.size).toBe(model.bytes.length);
        await device.close();
      }),
      { numRuns: runs },
    );
  });
}

interface Model {
  bytes: Uint8Array;
}

/** A range within the device. */
function within({ bytes: { length: size } }: Model, { at, for: wanted }: Place): [offset: number, length: number] {
  const offset = at % (size + 1);
  return [offset, Math.min(wanted, size - offset)];
}

async function carryOut(device: BlockBackend, model: Model, step: Step): Promise<void> {
  switch (step.op) {
    case 'flush':
      return device.flush?.();
    case 'resize':
      return resize(device, model, step.size);
    case 'together':
      return together(device, model, step.steps);
  }
  const [offset, length] = within(model, step);
  const now = model.bytes.subarray(offset, offset + length);
  if (step.op === 'write') {
    if (!device.write) return;
    const bytes = noise(length, step.seed);
    await device.write(bytes.slice(), offset);
    now.set(bytes);
  } else if (step.op === 'read') {
    expect(Buffer.compare(await read(device, offset, length), now)).toBe(0);
  } else if (step.op === 'zero') {
    await zero(device, step, offset, length, now);
  } else if (step.op === 'trim') {
    await device.trim?.(offset, length);
    if (device.trim) now.set(await read(device, offset, length)); // anything, but the same from now on
  } else if (step.op === 'extents') {
    await checkExtents(device, model, offset, length);
  } else {
    await device.prefetch?.(offset, length);
  }
}

async function read(device: BlockBackend, offset: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length).fill(0xaa);
  await device.read(into, offset);
  return into;
}

async function zero(
  device: BlockBackend,
  options: { mayTrim: boolean; fast: boolean },
  offset: number,
  length: number,
  now: Uint8Array,
): Promise<void> {
  if (!device.zero) return;
  try {
    await device.zero(offset, length, options);
    now.fill(0);
  } catch (error) {
    expect(options.fast && (error as { code?: string }).code).toBe('ENOTSUP');
    now.set(await read(device, offset, length));
  }
}

async function resize(device: BlockBackend, model: Model, size: number): Promise<void> {
  if (!device.resize) return;
  await device.resize(size);
  const bytes = new Uint8Array(size);
  bytes.set(model.bytes.subarray(0, size));
  model.bytes = bytes;
}

async function checkExtents(device: BlockBackend, { bytes }: Model, offset: number, length: number): Promise<void> {
  if (!device.extents) return;
  const extents = await device.extents(offset, length);
  let at = offset;
  for (const [index, extent] of extents.entries()) {
    const before = extents[index - 1];
    expect(extent.offset).toBe(at);
    expect(extent.length).toBeGreaterThan(0);
    if (before) expect([before.hole, before.zero]).not.toEqual([extent.hole, extent.zero]);
    at += extent.length;
    if (extent.zero) expect(bytes.subarray(extent.offset, at).every((byte) => byte === 0)).toBe(true);
  }
  expect(at).toBe(offset + length);
}

/** Reads and writes that overlap: each byte is the one from before or that of one of the writes. */
async function together(
  device: BlockBackend,
  model: Model,
  steps: readonly ({ readonly seed: number } & Place)[],
): Promise<void> {
  const before = model.bytes.slice();
  const all = steps.map((step) => {
    const [offset, length] = within(model, step);
    const isWrite = device.write !== undefined && step.seed % 2 === 0;
    return { offset, isWrite, bytes: isWrite ? noise(length, step.seed) : new Uint8Array(length) };
  });
  await Promise.all(
    all.map(async ({ offset, isWrite, bytes }) => {
      await (isWrite ? device.write?.(bytes.slice(), offset) : device.read(bytes, offset));
    }),
  );
  const writes = all.filter(({ isWrite }) => isWrite);
  for (const { offset, bytes, isWrite } of all)
    if (!isWrite) expect(illegal(bytes, offset, before, writes, false)).toBe(-1);
  model.bytes = await readAll(device);
  expect(illegal(model.bytes, 0, before, writes, true)).toBe(-1);
}

/** The first byte that comes neither from one of the writes nor, unless they are done and cover it, from before; or -1. */
function illegal(
  bytes: Uint8Array,
  start: number,
  before: Uint8Array,
  writes: readonly { offset: number; bytes: Uint8Array }[],
  done: boolean,
): number {
  const legal = bytes.map((byte, index) => Number(byte === before[start + index]));
  const near = writes.map((write) => {
    const from = Math.max(0, write.offset - start);
    return { write, from, to: Math.min(bytes.length, write.offset + write.bytes.length - start) };
  });
  if (done) for (const { from, to } of near) if (from < to) legal.fill(0, from, to);
  for (const { write, from, to } of near)
    for (let index = from; index < to; index++)
      if (bytes[index] === write.bytes[start + index - write.offset]) legal[index] = 1;
  return legal.indexOf(0);
}
