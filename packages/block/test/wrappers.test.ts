import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import {
  around,
  cache,
  delay,
  fault,
  flushEarly,
  isPromise,
  memory,
  overlayLayout,
  copyOnWrite,
  formatDelta,
} from '../index.js';
import { readAhead, readOnly, retry, slice, stats, trace, withClose, type TraceRecord } from '../index.js';
import { errorOf, withRandomDelays, noise } from './helpers.js';

const SIZE = 1 << 20;

function filled(): BlockBackend {
  const device = memory(SIZE);
  void device.write?.(noise(SIZE, 1), 0);
  return device;
}

/** `inner`, and the reads that reach it. */
function watched(inner: BlockBackend): { device: BlockBackend; reads: [offset: number, length: number][] } {
  const reads: [number, number][] = [];
  const device = around(inner, (operation, offset, length, work) => {
    if (operation === 'read') reads.push([offset, length]);
    return work();
  });
  return { device, reads };
}

const read = async (device: BlockBackend, offset: number, length: number): Promise<Uint8Array> => {
  const into = new Uint8Array(length);
  await device.read(into, offset);
  return into;
};

describe('synchronous answers', () => {
  it('stay synchronous through all wrappers except delay', async () => {
    const layout = overlayLayout(SIZE, 4096);
    const delta = memory(layout.size);
    await formatDelta(delta, layout);
    const cow = await copyOnWrite(filled(), delta);
    const device = stats(trace(retry(fault(readAhead(cache(slice(cow, 0, SIZE))), [])), () => undefined));
    const bytes = new Uint8Array(5000);
    const answers = [
      device.read(bytes, 1000),
      device.write?.(bytes, 100_001),
      device.zero?.(5, 10_000),
      device.trim?.(5, 10_000),
      device.prefetch?.(0, SIZE),
      readOnly(device).read(bytes, 4000),
    ];
    expect(answers.some((answer) => isPromise(answer))).toBe(false);
    expect(isPromise(device.extents?.(0, SIZE) ?? [])).toBe(false);
    expect(isPromise(delay(device, 0).read(bytes, 0))).toBe(true);
  });
});

describe('a flush', () => {
  const limits = { minimum: 512, preferred: 512, maximum: 4096 };
  const copied = async (delta: BlockBackend): Promise<BlockBackend> => {
    await formatDelta(delta, overlayLayout(SIZE, 4096));
    return copyOnWrite(readOnly(filled()), delta);
  };
  it.each<[name: string, wrap: (inner: BlockBackend) => Promise<BlockBackend> | BlockBackend]>([
    ['slice', (inner) => slice(inner, 1, SIZE)],
    ['slice of blocks', (inner) => slice({ ...inner, size: inner.size, blockSizes: limits }, 1, SIZE)],
    ['cache', (inner) => cache(inner)],
    ['readAhead', (inner) => readAhead(cache(inner))],
    ['withClose', (inner) => withClose(inner, () => undefined)],
    ['retry', (inner) => retry(inner)],
    ['trace', (inner) => trace(inner, () => undefined)],
    ['stats', (inner) => stats(inner)],
    ['delay', (inner) => delay(inner, 0)],
    ['fault', (inner) => fault(inner, [])],
    ['flushEarly', (inner) => flushEarly(inner)],
    ['copyOnWrite', copied],
    ['copyOnWrite in blocks', (inner) => copied({ ...inner, size: inner.size, blockSizes: limits })],
  ])('passes through %s, and so does its failure', async (_name, wrap) => {
    let [flushes, isBroken] = [0, false];
    const store = memory(overlayLayout(SIZE, 4096).size);
    const device = await wrap({
      ...store,
      size: store.size,
      flush: async () => {
        await Promise.resolve();
        if (isBroken) throw new Error('broken');
        flushes++;
      },
    });
    flushes = 0;
    await device.flush?.();
    expect(flushes).toBe(1);
    isBroken = true;
    expect((await errorOf(() => device.flush?.())).message).toBe('broken');
  });
});

describe('cache', () => {
  it('fetches a block once for many readers', async () => {
    const { device: inner, reads } = watched(withRandomDelays(filled(), 1));
    const device = cache(inner, { blockSize: 4096 });
    const all = await Promise.all(Array.from({ length: 20 }, () => read(device, 5000, 100)));
    for (const bytes of all) expect(bytes).toEqual(noise(SIZE, 1).slice(5000, 5100));
    expect(reads).toEqual([[4096, 4096]]);
  });

  it('fetches neighbours by one request, and does not fetch cached blocks again', async () => {
    const { device: inner, reads } = watched(withRandomDelays(filled(), 1));
    const device = cache(inner, { blockSize: 4096 });
    await read(device, 3 * 4096, 4096);
    await read(device, 0, 8 * 4096);
    expect(reads).toEqual([
      [3 * 4096, 4096],
      [0, 3 * 4096],
      [4 * 4096, 4 * 4096],
    ]);
  });

  it('evicts the least recently used block', async () => {
    const { device: inner, reads } = watched(filled());
    const device = cache(inner, { blockSize: 4096, bytes: 3 * 4096 });
    for (const block of [0, 1, 2, 0, 3, 0, 2, 1]) await read(device, block * 4096, 10);
    expect(reads.map(([offset]) => offset / 4096)).toEqual([0, 1, 2, 3, 1]);
  });

  it('keeps no more than its limit', async () => {
    const { device: inner, reads } = watched(filled());
    const device = cache(inner, { blockSize: 4096, bytes: 10 * 4096 });
    await read(device, 0, SIZE);
    reads.length = 0;
    for (let block = SIZE / 4096 - 1; block >= 0; block--) await read(device, block * 4096, 1);
    expect(reads).toHaveLength(SIZE / 4096 - 10);
  });

  it('keeps what is written, and asks again after an error', async () => {
    const { device: inner, reads } = watched(fault(filled(), [{ operations: ['read'], nth: 1 }]));
    const device = cache(inner, { blockSize: 4096 });
    expect((await errorOf(() => read(device, 0, 10))).code).toBe('EIO');
    await read(device, 0, 10);
    await device.write?.(Uint8Array.of(7, 8, 9), 3);
    expect([...(await read(device, 3, 3))]).toEqual([7, 8, 9]);
    expect(reads).toHaveLength(2);
  });

  it('prefetches within its limit', async () => {
    const { device: inner, reads } = watched(withRandomDelays(filled(), 1));
    const device = cache(inner, { blockSize: 4096, ahead: 4 * 4096 });
    await Promise.all([device.prefetch?.(0, SIZE), device.prefetch?.(SIZE / 2, SIZE / 2)]);
    expect(reads).toEqual([[0, 4 * 4096]]);
    await device.prefetch?.(SIZE / 2, 100);
    expect(reads).toHaveLength(2);
  });

  it('refuses invalid sizes', () => {
    for (const options of [{ blockSize: 1000 }, { blockSize: 256 }, { bytes: 4096, blockSize: 8192 }])
      expect(() => cache(memory(1), options)).toThrow(RangeError);
  });
});

describe('readAhead', () => {
  function watchedHints(): { device: BlockBackend; hints: [number, number][] } {
    const hints: [number, number][] = [];
    const inner = Object.assign(memory(SIZE), {
      prefetch: (offset: number, length: number) => void hints.push([offset, length]),
    });
    return { device: readAhead(inner, { first: 8192, most: 32_768, streams: 2 }), hints };
  }

  it('grows its window up to a limit, and stops at the end', async () => {
    const { device, hints } = watchedHints();
    for (let at = 0; at < SIZE; at += 4096) await read(device, at, 4096);
    const lengths = hints.map(([, length]) => length);
    expect(lengths.slice(0, 4)).toEqual([8192, 16_384, 32_768, 32_768]);
    expect(Math.max(...lengths)).toBe(32_768);
    hints.reduce((end, [offset, length]) => (expect(offset).toBe(end), offset + length), 8192);
    expect((hints.at(-1) ?? [0, 0]).reduce((a, b) => a + b)).toBe(SIZE);
  });

  it('tracks several readers, and ignores random reads', async () => {
    const { device, hints } = watchedHints();
    for (const at of [5, 1, 9, 3, 7]) await read(device, at * 65_536, 4096);
    expect(hints).toEqual([]);
    for (let at = 0; at < 4; at++) {
      await read(device, at * 4096, 4096);
      await read(device, 500_000 + at * 4096, 4096);
    }
    expect(hints.some(([offset]) => offset < 100_000)).toBe(true);
    expect(hints.some(([offset]) => offset > 500_000)).toBe(true);
  });
});

describe('fault', () => {
  const outcomes = async (seed: number): Promise<boolean[]> => {
    const device = fault(memory(SIZE), [{ fraction: 0.3, operations: ['read'] }], seed);
    const failed: boolean[] = [];
    for (let index = 0; index < 200; index++)
      failed.push(
        await read(device, index, 1).then(
          () => false,
          () => true,
        ),
      );
    return failed;
  };

  it('is the same for the same seed', async () => {
    expect(await outcomes(1)).toEqual(await outcomes(1));
    expect(await outcomes(1)).not.toEqual(await outcomes(2));
    const count = (await outcomes(1)).filter(Boolean).length;
    expect(count).toBeGreaterThan(30);
    expect(count).toBeLessThan(90);
  });

  it('fails by the nth request, a range or an operation, with the given code', async () => {
    const device = fault(memory(SIZE), [
      { range: { offset: 100, length: 10 }, operations: ['read'], code: 'ENXIO' },
      { operations: ['write'], nth: 2, code: 'ENOSPC', transient: true },
      { operations: ['flush'] },
    ]);
    await read(device, 90, 10);
    await read(device, 110, 10);
    expect((await errorOf(() => read(device, 109, 10))).code).toBe('ENXIO');
    const bytes = new Uint8Array(10);
    await device.write?.(bytes, 100);
    expect(await errorOf(() => device.write?.(bytes, 0))).toMatchObject({ code: 'ENOSPC', transient: true });
    await device.write?.(bytes, 0);
    expect((await errorOf(() => device.flush?.())).code).toBe('EIO');
  });
});

describe('retry', () => {
  const failing = (times: number, transient = true): BlockBackend =>
    fault(
      memory(SIZE),
      Array.from({ length: times }, (_, index) => ({ nth: index + 1, transient })),
    );

  it('makes no more than the given attempts', async () => {
    await read(retry(failing(2), { attempts: 3, delay: 0 }), 0, 1);
    expect((await errorOf(() => read(retry(failing(3), { attempts: 3, delay: 0 }), 0, 1))).code).toBe('EIO');
  });

  it('repeats neither permanent errors nor a flush', async () => {
    const all = [retry(failing(1, false), { delay: 0 }), retry(failing(1), { delay: 0, transient: () => false })];
    for (const device of all) expect((await errorOf(() => read(device, 0, 1))).code).toBe('EIO');
    expect((await errorOf(() => retry(failing(1), { delay: 0 }).flush?.())).code).toBe('EIO');
  });

  it('stops in time, on its signal, and when it is closed', async () => {
    const [stop, error] = [new AbortController(), { code: 'EIO' }];
    expect(await errorOf(() => read(retry(failing(1), { delay: 60_000, total: 1000 }), 0, 1))).toMatchObject(error);
    const waiting = errorOf(() => read(retry(failing(1), { delay: 60_000, total: 1e9, signal: stop.signal }), 0, 1));
    stop.abort();
    expect(await waiting).toMatchObject(error);
    const closed = retry(failing(1), { delay: 60_000, total: 1e9 });
    const reading = errorOf(() => read(closed, 0, 1));
    await closed.close();
    expect(await reading).toMatchObject(error);
  });
});

/** The lines in the stream now. */
function linesOf(stream: PassThrough): Record<string, number>[] {
  const text = (stream.read() as Buffer | null)?.toString().trim() ?? '';
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Record<string, number>);
}

describe('trace', () => {
  it('records who did what when, and how it ended', async () => {
    let clock = 5;
    const records: TraceRecord[] = [];
    const inner = fault(memory(SIZE), [{ operations: ['write'], code: 'ENOSPC' }]);
    const device = trace(inner, (record) => records.push(record), { client: 'vm', now: () => (clock += 1) });
    await read(device, 10, 20);
    await errorOf(() => device.write?.(new Uint8Array(4), 8));
    await device.flush?.();
    expect(records).toEqual([
      { t: 1, op: 'read', offset: 10, length: 20, took: 1, client: 'vm' },
      { t: 3, op: 'write', offset: 8, length: 4, took: 1, error: 'ENOSPC', client: 'vm' },
      { t: 5, op: 'flush', offset: 0, length: 0, took: 1, client: 'vm' },
    ]);
  });

  it('writes lines, and counts those that it drops because the stream is slow', async () => {
    const stream = new PassThrough({ highWaterMark: 10 });
    const device = trace(memory(SIZE), stream, { buffered: 100 });
    for (let index = 0; index < 100; index++) await read(device, index, 1);
    const seen = linesOf(stream).length;
    expect(seen).toBeLessThan(10);
    while (stream.writableLength > 0) linesOf(stream);
    await read(device, 500, 1);
    const rest = linesOf(stream);
    expect(rest.some(({ dropped = 0 }) => dropped > 80)).toBe(true);
  });

  it('reports dropped lines on close, unless the stream has already ended', async () => {
    for (const isEnded of [false, true]) {
      const stream = new PassThrough({ highWaterMark: 10 });
      const device = trace(memory(SIZE), stream, { buffered: 100 });
      for (let index = 0; index < 100; index++) await read(device, index, 1);
      if (isEnded) stream.end();
      await device.close();
      const all: Record<string, number>[] = [];
      for (let some = linesOf(stream); some.length > 0; some = linesOf(stream)) all.push(...some);
      const dropped = all.flatMap(({ dropped: count = 0 }) => (count > 0 ? [count] : []));
      expect(dropped).toEqual(isEnded ? [] : [100 - (all.length - 1)]);
    }
  });
});

describe('stats', () => {
  it('counts requests, bytes, errors and times', async () => {
    let clock = 0;
    const device = stats(fault(memory(SIZE), [{ operations: ['read'], nth: 2 }]), () => (clock += 0.1) - 0.1);
    await read(device, 0, 1000);
    await errorOf(() => read(device, 0, 500));
    await device.resize?.(SIZE);
    const { read: reads, resize, write } = device.snapshot();
    expect([reads.count, reads.errors, reads.bytes]).toEqual([2, 1, 1500]);
    expect(reads.microseconds).toBeCloseTo(200);
    expect(reads.histogram[7]).toBe(2); // 64 to 128 µs
    expect([resize.count, resize.bytes, write.count]).toEqual([1, 0, 0]);
    expect(device.size).toBe(SIZE);
  });
});
