/** Disks compressed by the tools xz and zstd, judged by nbdkit, and corrupt files. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { around, xz, zstd } from '../index.js';
import { bounded, errorOf, noise, readAll, scratch } from './helpers.js';
import { device, expectRobust, tool, u32, xzOf, zstdOf } from './formats.js';

const path = scratch();
const content = Buffer.concat([noise(100_000, 1), Buffer.alloc(300_000), noise(100_001, 2)]);
const raw = path('raw');
writeFileSync(raw, content);

/** The device, and the number of bytes requested from it. */
function counted(inner: BlockBackend): { device: BlockBackend; bytes: () => number } {
  let bytes = 0;
  const counting = around(inner, (_operation, _offset, length, work) => ((bytes += length), work()));
  return { device: counting, bytes: () => bytes };
}

describe('xz', () => {
  it('gives the bytes that nbdkit reads from the file', async () => {
    const name = path('xz');
    writeFileSync(name, xzOf(raw, 65536));
    const to = path('judged');
    execFileSync('nbdkit', ['-U', '-', '--filter=xz', 'file', name, '--run', `nbdcopy "$uri" ${to}`]);
    expect(readFileSync(to).equals(content)).toBe(true);
    expect(Buffer.from(await readAll(await xz(device(readFileSync(name))))).equals(content)).toBe(true);
  });

  it.each([['none'], ['crc32'], ['crc64']])('reads a file with the checksum %s', async (check) => {
    const opened = await xz(device(xzOf(raw, 65536, `--check=${check}`)));
    expect(Buffer.from(await readAll(opened)).equals(content)).toBe(true);
  });

  it('refuses a file with an unsupported checksum', async () => {
    await expect(xz(device(xzOf(raw, 65536, '--check=sha256')))).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  it('reads several streams with padding from a device that only takes whole blocks', async () => {
    const parts = [content.subarray(0, 70_000), content.subarray(70_000)].map((part) => {
      const name = path('part');
      writeFileSync(name, part);
      return xzOf(name, 50_000);
    });
    const bytes = Buffer.concat([parts[0] ?? u32(), Buffer.alloc(8), parts[1] ?? u32(), Buffer.alloc(4)]);
    const whole = Buffer.concat([bytes, Buffer.alloc(-bytes.length & 511)]);
    expect(Buffer.from(await readAll(await xz(bounded(device(whole), 512, 65536)))).equals(content)).toBe(true);
  });

  it('reads only the needed blocks, once for many readers, and keeps no more than its limit', async () => {
    const bytes = xzOf(raw, 50_000);
    const { device: inner, bytes: count } = counted(device(bytes));
    const opened = await xz(inner, { memory: 60_000 });
    const before = count();
    const read = async (at: number): Promise<void> => {
      const into = new Uint8Array(1000);
      await opened.read(into, at);
      expect(Buffer.from(into).equals(content.subarray(at, at + 1000))).toBe(true);
    };
    await Promise.all([0, 500, 49_000, 40_000].map(read));
    const one = count() - before;
    expect(one).toBeGreaterThan(50_000);
    expect(one).toBeLessThan(60_000);
    await read(100);
    expect(count() - before).toBe(one);
    await read(410_000);
    await read(0);
    expect(count() - before).toBeGreaterThan(2 * one);
  });

  it('refuses a file of one large block', async () => {
    const error = await errorOf(() => xz(device(xzOf(raw, 1 << 30)), { largest: 400_000 }));
    expect(error).toMatchObject({ code: 'EFBIG', message: expect.stringContaining('a block of 500001 bytes') });
  });

  it('reports damage as an error instead of returning wrong bytes', async () => {
    const bytes = xzOf(raw, 65536);
    bytes.fill(0xff, 5000, 5010);
    const opened = await xz(device(bytes));
    expect(await errorOf(() => opened.read(new Uint8Array(100), 0))).toMatchObject({ code: 'EIO' });
    await opened.read(new Uint8Array(100), 70_000);
  });

  it.each([0, 11, 100, 4096])('refuses %i bytes that are not xz', async (size) => {
    await expect(xz(device(noise(size, 1)))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('opens or refuses every corrupted file in bounded time and memory', async () => {
    const bytes = xzOf(raw, 100_000);
    await expectRobust(bytes, xz, { near: [0, 12, bytes.length - 128, bytes.length - 12], runs: 100 });
  });
});

describe('zstd', () => {
  it.each([[true], [false]])('reads only the needed frames (seek table: %s)', async (table) => {
    const { device: inner, bytes: count } = counted(device(zstdOf(content, 50_000, path, table)));
    const opened = await zstd(inner);
    expect(opened.size).toBe(content.length);
    const before = count();
    await opened.read(new Uint8Array(1000), 1000);
    expect(count() - before).toBeLessThan(60_000);
    expect(Buffer.from(await readAll(opened)).equals(content)).toBe(true);
  });

  it('can be unpacked by the zstd tool if it has a seek table', () => {
    const name = path('seekable.zst');
    writeFileSync(name, zstdOf(content, 50_000, path));
    expect(execFileSync('zstd', ['-dcq', name]).equals(content)).toBe(true);
  });

  it('reads a seek table with checksums', async () => {
    const plain = zstdOf(content, 300_000, path, false);
    const first = zstdOf(content.subarray(0, 300_000), 300_000, path, false).length;
    const entries = u32(first, 300_000, 0x11111111, plain.length - first, 200_001, 0x22222222);
    const seekTable = Buffer.concat([entries, u32(2), Buffer.from([0x80]), u32(0x8f92eab1)]);
    const bytes = Buffer.concat([plain, u32(0x184d2a5e, seekTable.length), seekTable]);
    expect(Buffer.from(await readAll(await zstd(device(bytes)))).equals(content)).toBe(true);
  });

  it('reads or refuses the frames of pzstd, which have no seek table', async () => {
    const large = path('large');
    writeFileSync(large, Buffer.concat(Array.from({ length: 20 }, () => content)));
    tool('pzstd', '-q', '-1', '-p', '4', large, '-o', `${large}.zst`);
    const bytes = readFileSync(`${large}.zst`);
    const opened = await zstd(device(bytes)).catch((error: unknown) => error as Error & { code: string });
    if (opened instanceof Error)
      expect(opened).toMatchObject({ code: 'ENOTSUP', message: expect.stringContaining('does not say how long it is') }); // prettier-ignore
    else expect(Buffer.from(await readAll(opened)).equals(readFileSync(large))).toBe(true);
  });

  it('refuses a frame from a pipe, which does not state its length', async () => {
    const piped = execFileSync('sh', ['-c', `zstd -cq < ${raw}`]);
    await expect(zstd(device(piped))).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  it('refuses a file of one large frame', async () => {
    await expect(zstd(device(zstdOf(content, 1 << 30, path)), { largest: 400_000 })).rejects.toMatchObject({ code: 'EFBIG' }); // prettier-ignore
  });

  it('reports damage as an error instead of returning wrong bytes', async () => {
    const bytes = zstdOf(content, 50_000, path);
    bytes.fill(0xff, 5000, 5010);
    const opened = await zstd(device(bytes));
    expect(await errorOf(() => opened.read(new Uint8Array(100), 0))).toMatchObject({ code: 'EIO' });
    await opened.read(new Uint8Array(100), 70_000);
  });

  it.each([1, 8, 4096])('refuses %i bytes that are not zstd', async (size) => {
    await expect(zstd(device(noise(size, 1)))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('opens or refuses every corrupted file in bounded time and memory', async () => {
    for (const table of [true, false]) {
      const bytes = zstdOf(content, 100_000, path, table);
      await expectRobust(bytes, zstd, { near: [0, bytes.length - 60, bytes.length - 9], runs: 100 });
    }
  });
});
