/** The contract of every backend and every wrapper: random requests, compared with an array of bytes. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { BlockBackend, Extent } from '../backend.js';
import { errorOf, noise, readAll } from './helpers.js';

export interface Subject {
  readonly name: string;
  /** Makes a new device with this content. */
  readonly make: (content: Uint8Array) => Promise<BlockBackend> | BlockBackend;
  /** The methods that must exist besides `read` and `close`. No others may exist. */
  readonly methods: readonly (keyof BlockBackend)[];
  readonly runs?: number;
}

const MOST = 40_000;
export const CHANGES = ['write', 'flush', 'trim', 'zero'] as const;
const OPTIONAL = [...CHANGES, 'extents', 'prefetch', 'resize'] as const;

interface Place {
  readonly at: number;
  readonly length: number;
}
type Step =
  | ({ readonly op: 'read' | 'trim' | 'extents' | 'prefetch' } & Place)
  | ({ readonly op: 'write'; readonly seed: number } & Place)
  | ({ readonly op: 'zero'; readonly mayTrim: boolean; readonly fast: boolean } & Place)
  | { readonly op: 'flush' }
  | { readonly op: 'resize'; readonly size: number }
  | { readonly op: 'together'; readonly steps: readonly Concurrent[] };

const CONCURRENT = ['read', 'write', 'zero', 'trim', 'flush', 'extents', 'prefetch'] as const;
interface Concurrent extends Place {
  readonly op: (typeof CONCURRENT)[number];
  readonly seed: number;
}

// Mistakes are most likely at the ends of blocks and pages.
const number = fc.oneof(
  fc.nat(MOST),
  fc.nat(80).map((count) => count * 512),
  fc.nat(10).map((count) => count * 4096),
);
const place = { at: number, length: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constantFrom('read', 'trim', 'extents', 'prefetch'), ...place }),
  fc.record({ op: fc.constant('write' as const), seed: fc.nat(), ...place }),
  fc.record({ op: fc.constant('zero' as const), mayTrim: fc.boolean(), fast: fc.boolean(), ...place }),
  fc.record({ op: fc.constant('flush' as const) }),
  fc.record({ op: fc.constant('resize' as const), size: number }),
  fc.record({
    op: fc.constant('together' as const),
    steps: fc.array(fc.record({ op: fc.constantFrom(...CONCURRENT), seed: fc.nat(), ...place }), {
      minLength: 2,
      maxLength: 6,
    }),
  }),
);

/** Runs the suite on one subject, inside a `describe`. */
export function behavesAsBlockBackend({ name, make, methods, runs = 60 }: Subject): void {
  it(`${name}: has exactly the expected methods`, async () => {
    const device = await make(noise(5000, 1));
    expect(device.size).toBe(5000);
    expect(OPTIONAL.filter((method) => Object.hasOwn(device, method)).sort()).toEqual([...methods].sort());
    await device.close();
  });

  it(`${name}: refuses ranges outside the device`, async () => {
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

  it(`${name}: returns what was written`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(MOST), fc.nat(), fc.array(step, { maxLength: 25 }), async (size, seed, steps) => {
        const content = noise(size, seed);
        const device = await make(content.slice());
        const model = { bytes: content };
        for (const current of steps) await applyStep(device, model, current);
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
function within({ bytes: { length: size } }: Model, { at, length: wanted }: Place): [offset: number, length: number] {
  const offset = at % (size + 1);
  return [offset, Math.min(wanted, size - offset)];
}

async function applyStep(device: BlockBackend, model: Model, step: Step): Promise<void> {
  switch (step.op) {
    case 'flush':
      return device.flush?.();
    case 'resize':
      return resize(device, model, step.size);
    case 'together':
      return together(device, model, step.steps);
  }
  const [offset, length] = within(model, step);
  const expected = model.bytes.subarray(offset, offset + length);
  if (step.op === 'write') {
    if (!device.write) return;
    const bytes = noise(length, step.seed);
    await device.write(bytes.slice(), offset);
    expected.set(bytes);
  } else if (step.op === 'read') {
    expect(Buffer.compare(await read(device, offset, length), expected)).toBe(0);
  } else if (step.op === 'zero') {
    await zero(device, step, offset, length, expected);
  } else if (step.op === 'trim') {
    await device.trim?.(offset, length);
    if (device.trim) expected.set(await read(device, offset, length)); // anything, but stable from now on
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
  expected: Uint8Array,
): Promise<void> {
  if (!device.zero) return;
  try {
    await device.zero(offset, length, options);
    expected.fill(0);
  } catch (error) {
    expect(options.fast && (error as { code?: string }).code).toBe('ENOTSUP');
    expected.set(await read(device, offset, length));
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
  for (const extent of ordered(await device.extents(offset, length), offset, length))
    if (extent.zero)
      expect(bytes.subarray(extent.offset, extent.offset + extent.length).every((byte) => byte === 0)).toBe(true);
}

/** Checks that the extents cover the range in order and without gaps, and that neighbours differ. */
function ordered(extents: readonly Extent[], offset: number, length: number): readonly Extent[] {
  let at = offset;
  for (const [index, extent] of extents.entries()) {
    const before = extents[index - 1];
    expect(extent.offset).toBe(at);
    expect(extent.length).toBeGreaterThan(0);
    if (before) expect([before.hole, before.zero]).not.toEqual([extent.hole, extent.zero]);
    at += extent.length;
  }
  expect(at).toBe(offset + length);
  return extents;
}

/** Bytes that a request read. */
interface Seen {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** The effect of a request on a range. */
interface Effect {
  readonly offset: number;
  readonly length: number;
  /** Undefined: the bytes may be anything. */
  readonly bytes: Uint8Array | undefined;
}

/** One of several concurrent requests: its effect on its range, if any, and the bytes that it reads. */
interface Request {
  readonly effect?: (length: number, seed: number) => Uint8Array | undefined;
  readonly send: (device: BlockBackend, offset: number, length: number, seed: number) => Promise<Seen[]>;
}

const withoutResult = (work: (...from: Parameters<Request['send']>) => unknown): Request['send'] =>
  async function send(...from) {
    await work(...from);
    return [];
  };

const REQUESTS: Readonly<Record<Concurrent['op'], Request>> = {
  read: { send: async (device, offset, length) => [{ offset, bytes: await read(device, offset, length) }] },
  write: {
    effect: noise,
    send: withoutResult((device, offset, length, seed) => device.write?.(noise(length, seed), offset)),
  },
  zero: {
    effect: (length) => new Uint8Array(length),
    send: withoutResult((device, offset, length, seed) => device.zero?.(offset, length, { mayTrim: seed % 2 === 0 })),
  },
  trim: { effect: () => undefined, send: withoutResult((device, offset, length) => device.trim?.(offset, length)) },
  flush: { send: withoutResult((device) => device.flush?.()) },
  prefetch: { send: withoutResult((device, offset, length) => device.prefetch?.(offset, length)) },
  extents: {
    send: async (device, offset, length) =>
      ordered((await device.extents?.(offset, length)) ?? [], offset, length)
        .filter(({ zero }) => zero)
        .map((extent) => ({ offset: extent.offset, bytes: new Uint8Array(extent.length) })),
  },
};

/**
 * Runs overlapping requests and checks that every byte is explained by some order of them. A byte of the final state
 * comes from any of the requests that change it. A byte that was read meanwhile may also be the one from before.
 */
async function together(device: BlockBackend, model: Model, steps: readonly Concurrent[]): Promise<void> {
  const before = model.bytes.slice();
  const all = steps
    .filter(({ op }) => device[op] !== undefined)
    .map((step) => ({ ...step, ...REQUESTS[step.op], range: within(model, step) }));
  const effects = all.flatMap(({ effect, range: [offset, length], seed }) =>
    effect ? [{ offset, length, bytes: effect(length, seed) }] : [],
  );
  const seen = await Promise.all(all.map(({ send, range, seed }) => send(device, ...range, seed)));
  for (const { bytes, offset } of seen.flat()) expect(findIllegal(bytes, offset, before, effects, false)).toBe(-1);
  model.bytes = await readAll(device);
  expect(findIllegal(model.bytes, 0, before, effects, true)).toBe(-1);
}

/**
 * The first byte that has no explanation, or -1. It must come from an effect, or from `before` unless the effects are
 * done and cover it.
 */
function findIllegal(
  bytes: Uint8Array,
  start: number,
  before: Uint8Array,
  effects: readonly Effect[],
  done: boolean,
): number {
  const legal = bytes.map((byte, index) => Number(byte === before[start + index]));
  const overlaps = effects.map((effect) => {
    const from = Math.max(0, effect.offset - start);
    return { effect, from, to: Math.min(bytes.length, effect.offset + effect.length - start) };
  });
  if (done) for (const { from, to } of overlaps) if (from < to) legal.fill(0, from, to);
  for (const { effect, from, to } of overlaps)
    for (let index = from; index < to; index++)
      if (effect.bytes === undefined || bytes[index] === effect.bytes[start + index - effect.offset]) legal[index] = 1;
  return legal.indexOf(0);
}
