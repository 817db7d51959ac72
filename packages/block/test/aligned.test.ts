/** The requests that reach a device that only takes whole blocks. contract.test.ts checks that the bytes are right. */
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import {
  around,
  copyOnWrite,
  formatDelta,
  isPromise,
  memory,
  overlayLayout,
  readOnly,
  regions,
  slice,
} from '../index.js';
import { bounded, noise } from './helpers.js';

const SIZE = 1 << 20;
const [MINIMUM, MAXIMUM] = [512, 64 << 10];

/** A device of noise that only takes whole blocks, and the requests that reach it. */
function blocks(): { device: BlockBackend; asked: unknown[][] } {
  const device = memory(SIZE);
  void device.write?.(noise(SIZE, 1), 0);
  const asked: unknown[][] = [];
  const watched = around(bounded(device, MINIMUM, MAXIMUM), (operation, offset, length, work) => {
    asked.push([operation, offset, length]);
    return work();
  });
  return { device: watched, asked };
}

async function cow(base: BlockBackend): Promise<BlockBackend> {
  const layout = overlayLayout(base.size, 4096);
  const delta = memory(layout.size);
  await formatDelta(delta, layout);
  return copyOnWrite(readOnly(base), delta);
}

const WRAPPERS: [name: string, wrap: (base: BlockBackend) => Promise<BlockBackend> | BlockBackend][] = [
  ['an overlay', cow],
  ['regions', (base) => regions([{ length: SIZE, source: { backend: base } }])],
  ['a slice', (base) => slice(base, 0, SIZE)],
];

describe.each(WRAPPERS)('%s over a device that only takes whole blocks', (_name, wrap) => {
  it('reads any range by whole blocks', async () => {
    const { device: base, asked } = blocks();
    const device = await wrap(base);
    const into = new Uint8Array(10);
    expect(isPromise(device.read(into, 507))).toBe(false);
    expect(into).toEqual(noise(SIZE, 1).slice(507, 517));
    expect(asked).toEqual([['read', 0, 1024]]);
  });

  it("reads whole blocks directly into the caller's buffer", async () => {
    const { device: base } = blocks();
    const buffers: Uint8Array[] = [];
    const read: BlockBackend['read'] = (into, offset) => (buffers.push(into), base.read(into, offset));
    const device = await wrap({ ...base, size: SIZE, read });
    const into = new Uint8Array(4096);
    await device.read(into, 8192);
    expect(buffers.map(({ buffer }) => buffer)).toEqual([into.buffer]);
    expect(buffers[0]?.buffer).toBe(into.buffer);
  });

  it('reads no more than the maximum in one request', async () => {
    const { device: base, asked } = blocks();
    const device = await wrap(base);
    const into = new Uint8Array(2 * MAXIMUM);
    await device.read(into, 1000);
    expect(Buffer.compare(into, noise(SIZE, 1).subarray(1000, 1000 + into.length))).toBe(0);
    expect(asked).toEqual([
      ['read', 512, MAXIMUM],
      ['read', 512 + MAXIMUM, MAXIMUM],
      ['read', 512 + 2 * MAXIMUM, 512],
    ]);
  });
});

describe('a slice of a device that only takes whole blocks', () => {
  it('changes parts of blocks and leaves their neighbours unchanged', async () => {
    const { device: base, asked } = blocks();
    const device = slice(base, 1024, 10_000);
    await device.write?.(new Uint8Array(600).fill(7), 500);
    await device.zero?.(2048, 520);
    await device.trim?.(100, 400);
    await device.trim?.(3000, 1200);
    expect(asked).toEqual([
      ['write', 1536, 512],
      ['read', 1024, 512],
      ['write', 1024, 512],
      ['read', 2048, 512],
      ['write', 2048, 512],
      ['zero', 3072, 512],
      ['read', 3584, 512],
      ['write', 3584, 512],
      ['trim', 4096, 1024],
    ]);
  });

  it.each([
    [8192, { minimum: 512, preferred: 4096, maximum: MAXIMUM }],
    [1024, { minimum: 512, preferred: 512, maximum: MAXIMUM }],
    [1000, { minimum: 1, preferred: 512, maximum: MAXIMUM }],
  ])('reports suitable block sizes if it starts at byte %i', (start, expected) => {
    const base = { ...memory(SIZE), size: SIZE, blockSizes: { minimum: 512, preferred: 4096, maximum: MAXIMUM } };
    expect(slice(base, start, 10_000).blockSizes).toEqual(expected);
  });
});
