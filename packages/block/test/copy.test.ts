import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { around, delegate, type Operation } from '../around.js';
import { type BlockBackend, type Extent } from '../backend.js';
import { difference } from '../compare.js';
import { copy, type CopyOptions } from '../copy.js';
import { delay } from '../delay.js';
import { fault } from '../fault.js';
import { memory } from '../memory.js';
import { readOnly } from '../read-only.js';
import { withRandomDelays, noise } from './helpers.js';

const KIB = 1 << 10;
const MIB = 1 << 20;

/** Contents of a device, at offsets and lengths without any alignment. */
const fills = (size: number): fc.Arbitrary<{ offset: number; length: number; seed: number }[]> =>
  fc.array(
    fc.record({
      offset: fc.integer({ min: 0, max: size }),
      length: fc.oneof(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 0, max: 300 * KIB })),
      seed: fc.integer({ min: 0, max: 99 }), // 0: stored zeros
    }),
    { maxLength: 8 },
  );

const devices = fc
  .integer({ min: 0, max: 3 * MIB })
  .chain((size) => fc.record({ size: fc.constant(size), fills: fills(size) }));

function filled(size: number, all: { offset: number; length: number; seed: number }[]): BlockBackend {
  const device = memory(size, { pageSize: 4096 });
  for (const { offset, length, seed } of all) {
    const count = Math.min(length, size - offset);
    void device.write?.(seed === 0 ? new Uint8Array(count) : noise(count, seed), offset);
  }
  return device;
}

function bytesOf(device: BlockBackend, length = device.size): Buffer {
  const bytes = Buffer.alloc(length);
  void device.read(bytes, 0);
  return bytes;
}

/** A device that refuses requests that are not whole blocks, like an NBD server. */
function inBlocks(inner: BlockBackend, minimum: number): BlockBackend {
  const strict = around(inner, (operation: Operation, offset, length, work) => {
    if (offset % minimum !== 0 || length % minimum !== 0) throw new Error(`${operation} ${length} at ${offset}`);
    return work();
  });
  return Object.assign(strict, { blockSizes: { minimum, preferred: 4096, maximum: 32 * MIB } });
}

/** The device without some of its methods. */
function without(inner: BlockBackend, ...names: (keyof BlockBackend)[]): BlockBackend {
  const device = { ...delegate(inner), size: inner.size };
  for (const name of names) Reflect.deleteProperty(device, name);
  return device;
}

describe('copy', () => {
  it('copies the bytes of the source and leaves the rest of the target unchanged', async () => {
    const options = fc.record({
      requests: fc.integer({ min: 1, max: 20 }),
      pieceSize: fc.constantFrom(1, 64 * KIB, MIB),
      sparse: fc.boolean(),
    });
    const more = fc.integer({ min: 0, max: 200 * KIB });
    const property = fc.asyncProperty(devices, more, options, fc.integer(), async (from, extra, options, seed) => {
      const source = filled(from.size, from.fills);
      const target = filled(from.size + extra, [{ offset: 0, length: MIB, seed: 7 }]);
      const before = bytesOf(target);
      const told: number[] = [];
      const progress = (done: number): number => told.push(done);
      const counts = await copy(withRandomDelays(source, seed), withRandomDelays(target, seed + 1), {
        ...options,
        progress,
      });
      expect(bytesOf(target, from.size).equals(bytesOf(source))).toBe(true);
      expect(bytesOf(target).subarray(from.size).equals(before.subarray(from.size))).toBe(true);
      expect(counts.written + counts.zeros).toBe(from.size);
      expect(told.at(-1) ?? 0).toBe(from.size);
      expect(told).toEqual([...told].sort((a, b) => a - b));
      expect(await difference(source, target)).toBeUndefined();
    });
    await fc.assert(property, { numRuns: 60 });
  });

  it('works with devices that only take whole blocks, whatever the size and the holes of the source', async () => {
    const blocks = fc.constantFrom(512, 4096, 64 * KIB);
    const property = fc.asyncProperty(devices, blocks, blocks, async (from, ours, theirs) => {
      const whole = from.size - (from.size % ours);
      const source = filled(
        whole,
        from.fills.filter(({ offset }) => offset < whole),
      );
      const size = Math.ceil(source.size / theirs) * theirs;
      const target = filled(size, [{ offset: 0, length: size, seed: 3 }]);
      const tail = bytesOf(target).subarray(source.size);
      await copy(inBlocks(source, ours), inBlocks(target, theirs));
      expect(bytesOf(target, source.size).equals(bytesOf(source))).toBe(true);
      expect(bytesOf(target).subarray(source.size).equals(tail)).toBe(true);
      expect(await difference(inBlocks(source, ours), inBlocks(target, theirs))).toBeUndefined();
    });
    await fc.assert(property, { numRuns: 40 });
  });

  const mixed = (): BlockBackend =>
    filled(10 * MIB, [
      { offset: 0, length: 2 * MIB, seed: 0 },
      { offset: 4 * MIB, length: MIB, seed: 5 },
    ]);
  const extents = (device: BlockBackend): Promise<readonly Extent[]> =>
    Promise.resolve(device.extents?.(0, device.size) ?? []);

  it('keeps holes, finds stored zeros, and reads no holes', async () => {
    const target = memory(10 * MIB);
    expect(await copy(mixed(), target, { targetIsZero: true })).toEqual({
      read: 3 * MIB,
      written: MIB,
      zeros: 9 * MIB,
    });
    expect((await extents(target)).filter(({ hole }) => !hole)).toEqual([
      { offset: 4 * MIB, length: MIB, hole: false, zero: false },
    ]);
  });

  it('allocates all of the target without `sparse`', async () => {
    const target = memory(10 * MIB);
    await copy(mixed(), target, { sparse: false, targetIsZero: true });
    expect((await extents(target)).some(({ hole }) => hole)).toBe(false);
  });

  it('writes zeros to a target without zero()', async () => {
    const inner = filled(10 * MIB, [{ offset: 0, length: 300 * KIB, seed: 9 }]);
    const source = mixed();
    await copy(source, without(inner, 'zero', 'trim'));
    expect(bytesOf(inner).equals(bytesOf(source))).toBe(true);
  });

  /** The most requests under way at once, in a device whose requests take a while. */
  async function mostAtOnce(work: (slow: BlockBackend) => Promise<unknown>): Promise<number> {
    const source = filled(2 * MIB, [{ offset: 0, length: 2 * MIB, seed: 4 }]);
    let [underWay, most] = [0, 0];
    const slow = around(delay(source, 2), async (operation, _offset, _length, work) => {
      if (operation !== 'read') return work();
      most = Math.max(most, ++underWay);
      try {
        return await work();
      } finally {
        underWay--;
      }
    });
    await work(slow);
    return most;
  }

  it.each([1, 5, 16])('keeps %i requests under way at once', async (requests) => {
    const options = { pieceSize: 64 * KIB, ...(requests === 16 ? {} : { requests }) };
    expect(await mostAtOnce((slow) => copy(slow, memory(2 * MIB), options))).toBe(requests);
  });

  it.each([0, 1.5, NaN])('refuses %d requests at once, because they would copy nothing', async (requests) => {
    await expect(copy(memory(5), memory(5), { requests })).rejects.toThrow(RangeError);
  });

  it.each([
    ['a target that is smaller', memory(5), memory(4), 'ENOSPC', 'the source has 5 bytes, the target has only 4'],
    ['a target that cannot be written', memory(5), readOnly(memory(5)), 'EROFS', 'cannot be written'],
  ])('refuses %s', async (_, source, target, code, message) => {
    await expect(copy(source, target)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  const stops: [string, (inner: BlockBackend) => [BlockBackend, BlockBackend], RegExp][] = [
    [
      'source',
      (inner) => [fault(inner, [{ operations: ['read'], nth: 3 }]), memory(inner.size)],
      /^reading 65536 bytes at \d+ of the source: /,
    ],
    [
      'target',
      (inner) => [inner, fault(memory(inner.size), [{ operations: ['write'], nth: 3, code: 'ENOSPC' }])],
      /^writing 65536 bytes at \d+ of the target: /,
    ],
    ["source's extents", (inner) => [fault(inner, [{ operations: ['extents'] }]), memory(inner.size)], /^extents of/],
  ];
  it.each(stops)('reports an error of the %s once no request is under way', async (_, pair, message) => {
    const inner = filled(2 * MIB, [{ offset: 0, length: MIB, seed: 4 }]);
    const [source, target] = pair(inner);
    let underWay = 0;
    const watched = around(withRandomDelays(source, 1), async (_operation, _offset, _length, work) => {
      underWay++;
      try {
        return await work();
      } finally {
        underWay--;
      }
    });
    const options: CopyOptions = { pieceSize: 64 * KIB, requests: 4 };
    await expect(copy(watched, target, options)).rejects.toThrow(message);
    expect(underWay).toBe(0);
  });

  it('ends with the reason of its signal, before and during the copy, and with synchronous devices', async () => {
    const source = filled(2 * MIB, [{ offset: 0, length: MIB, seed: 4 }]);
    await expect(copy(source, memory(2 * MIB), { signal: AbortSignal.abort('early') })).rejects.toBe('early');
    const stop = new AbortController();
    let last = 0;
    const progress = (done: number): void => {
      last = done;
      if (done >= 256 * KIB) stop.abort('enough');
    };
    const options = { pieceSize: 64 * KIB, requests: 2, signal: stop.signal, progress };
    await expect(copy(source, memory(2 * MIB), options)).rejects.toBe('enough');
    expect(last).toBeLessThan(512 * KIB);
    // A timer must get its turn although nothing is awaited.
    const slow = without(memory(2 ** 35), 'extents');
    await expect(copy(slow, memory(2 ** 35), { signal: AbortSignal.timeout(50) })).rejects.toThrow(/timeout/);
  });
});

describe('difference', () => {
  it('is the first byte that differs', async () => {
    const property = fc.asyncProperty(devices, fc.nat(), fc.nat(), async ({ size, fills }, one, other) => {
      fc.pre(size > 0);
      const [a, b] = [filled(size, fills), filled(size, fills)];
      for (const at of [one % size, other % size]) void b.write?.(Uint8Array.of((bytesOf(a)[at] ?? 0) ^ 1), at);
      expect(await difference(withRandomDelays(a, one), withRandomDelays(b, other))).toBe(
        Math.min(one % size, other % size),
      );
    });
    await fc.assert(property, { numRuns: 40 });
  });

  it('is at the end of a target that is shorter, and reads nothing that both sides report as zero', async () => {
    expect(await difference(memory(10), memory(9))).toBe(9);
    const unreadable = (): BlockBackend => fault(memory(MIB), [{ operations: ['read'] }]);
    expect(await difference(unreadable(), unreadable())).toBeUndefined();
  });

  it('throws the errors of the device', async () => {
    const broken = fault(filled(MIB, [{ offset: 0, length: MIB, seed: 1 }]), [{ operations: ['read'] }]);
    await expect(difference(broken, memory(MIB))).rejects.toThrow(/^reading \d+ bytes at \d+ of the source/);
  });
});
