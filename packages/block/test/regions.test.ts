import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fileRegion, memory, regions, slice, writeImage, type Region } from '../index.js';
import { errorOf, withRandomDelays, noise, readAll, scratch } from './helpers.js';

const path = scratch();

function fileOf(bytes: Uint8Array): string {
  const name = path('part');
  writeFileSync(name, bytes);
  return name;
}

const openNow = (name: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes(name);
    } catch {
      return false;
    }
  }).length;

describe('regions', () => {
  it('follow one another, or lie at their offsets', async () => {
    const disk = regions(
      [
        { offset: 100, length: 5, source: Buffer.from('hello, world') },
        { length: 3, source: 'zeros' },
        { length: 4, source: { backend: slice(memory(10), 2, 8), offset: 1 } },
        { offset: 10, length: 2, source: { file: fileOf(Buffer.from('abcdef')), offset: 3 } },
      ],
      { size: 200 },
    );
    const bytes = Buffer.from(await readAll(disk));
    expect(bytes.subarray(100, 105).toString()).toBe('hello');
    expect(bytes.subarray(10, 12).toString()).toBe('de');
    expect(bytes.reduce((sum, byte) => sum + Number(byte !== 0), 0)).toBe(7);
    expect(await disk.extents?.(0, 200)).toEqual([
      { offset: 0, length: 10, hole: true, zero: true },
      { offset: 10, length: 2, hole: false, zero: false },
      { offset: 12, length: 88, hole: true, zero: true },
      { offset: 100, length: 5, hole: false, zero: false },
      { offset: 105, length: 95, hole: true, zero: true },
    ]);
    await disk.close();
  });

  it.each<[what: string, list: Region[], size: number | undefined, message: RegExp]>([
    [
      'that overlap',
      [
        { length: 10, source: 'zeros' },
        { offset: 9, length: 1, source: 'zeros' },
      ],
      undefined,
      /overlap/,
    ],
    ['beyond the end', [{ length: 10, source: 'zeros' }], 9, /beyond a device of 9/],
    ['longer than their bytes', [{ length: 10, source: new Uint8Array(9) }], undefined, /outside a device of 9/],
    [
      'longer than their file',
      [{ length: 1, source: { file: 'x', size: 5, offset: 5 } }],
      undefined,
      /outside a device of 5/,
    ],
    ['longer than their device', [{ length: 10, source: { backend: memory(9) } }], undefined, /outside a device of 9/],
    ['of no length', [{ length: NaN, source: 'zeros' }], undefined, /NaN bytes/],
    ['before the start', [{ offset: -1, length: 1, source: 'zeros' }], undefined, /-1 bytes/],
  ])('are refused: %s', (_what, list, size, message) => {
    expect(() => regions(list, size === undefined ? {} : { size })).toThrow(message);
    expect(() => regions(list, size === undefined ? {} : { size })).toThrow(RangeError);
  });

  it('of many files keep few of them open', async () => {
    const files = Array.from({ length: 300 }, (_, index) => fileOf(noise(100, index)));
    const folder = dirname(files[0] ?? '');
    const disk = regions(await Promise.all(files.map((name) => fileRegion(name))), { openFiles: 10 });
    expect(openNow(folder)).toBe(0);
    const all = await readAll(disk);
    expect(all.subarray(12_300, 12_400)).toEqual(noise(100, 123));
    expect(openNow(folder)).toBe(10);
    await disk.close();
    expect(openNow(folder)).toBe(0);
  });

  it('of many files, read concurrently through the pool, close no file that is being read', async () => {
    const files = Array.from({ length: 60 }, (_, index) => fileOf(noise(5000, index)));
    const disk = regions(await Promise.all(files.map((name) => fileRegion(name))), {
      openFiles: 2,
      pace: { largest: -1 },
    });
    const reads = Array.from({ length: 300 }, async (_, number) => {
      const into = new Uint8Array(5000);
      await disk.read(into, ((number * 7) % 60) * 5000);
      expect(Buffer.compare(into, noise(5000, (number * 7) % 60))).toBe(0);
    });
    await Promise.all(reads);
    expect(openNow(dirname(files[0] ?? ''))).toBe(2);
    await disk.close();
    expect(openNow(dirname(files[0] ?? ''))).toBe(0);
  });

  it.each<[what: string, change: (name: string) => void]>([
    ['shorter', (name) => truncateSync(name, 99)],
    ['longer', (name) => truncateSync(name, 101)],
    ['newer', (name) => utimesSync(name, 1, 1)],
  ])('report an error that names the file if it became %s', async (_what, change) => {
    const name = fileOf(noise(100, 1));
    const disk = regions([await fileRegion(name)]);
    change(name);
    const error = await errorOf(() => readAll(disk));
    expect(error.code).toBe('EIO');
    expect(error.message).toContain(`${name}: changed since it was described`);
    await disk.close();
  });
});

describe('writeImage', () => {
  it('writes a sparse file and reports its progress', async () => {
    const disk = regions([
      { length: 100, source: noise(100, 1) },
      { offset: 3 * 2 ** 30, length: 3 << 20, source: { backend: withRandomDelays(memory(3 << 20), 1) } },
      { offset: 5 * 2 ** 30, length: 5000, source: noise(5000, 2) },
    ]);
    const to = path('image');
    const seen: number[] = [];
    await writeImage(disk, to, { progress: (done, size) => seen.push(done / size) });
    expect(statSync(to).size).toBe(disk.size);
    expect(Number(execFileSync('du', ['--block-size=1', to]).toString().split('\t')[0])).toBeLessThan(50_000);
    expect(seen.at(-1)).toBe(1);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    const written = execFileSync('tail', ['-c', '5000', to], { maxBuffer: 1 << 20 });
    expect(Buffer.compare(written, noise(5000, 2))).toBe(0);
    await disk.close();
  });

  it('leaves the existing file unchanged if it is aborted', async () => {
    const to = path('image');
    writeFileSync(to, 'before');
    const stop = new AbortController();
    const disk = memory(4 << 20);
    await disk.write?.(noise(1 << 20, 1), 0);
    await disk.write?.(noise(1 << 20, 1), 2 << 20);
    const reason = new Error('enough');
    expect(await errorOf(() => writeImage(disk, to, { signal: stop.signal, progress: () => stop.abort(reason) }))).toBe(
      reason,
    );
    expect(readFileSync(to, 'utf8')).toBe('before');
    expect(readdirSync(dirname(to)).filter((name) => name.startsWith(basename(to)))).toEqual([basename(to)]);
  });
});
