import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { cache, http, memory, overlay, readAhead, readOnly, retry, stats } from '../index.js';
import { errorOf, noise, ranges, readAll, scratch, serve } from './helpers.js';

const path = scratch();
const SIZE = 100_000;

function base(size = SIZE): BlockBackend {
  const device = memory(size);
  void device.write?.(noise(size, 1), 0);
  return readOnly(device);
}

describe('an overlay', () => {
  it('keeps what was flushed, and leaves the base unchanged', async () => {
    const to = path('delta');
    const below = base();
    const device = await overlay(below, to, { identity: 'one' });
    await device.write?.(noise(10_000, 2), 777);
    await device.zero?.(50_000, 20_001);
    await device.flush?.();
    const expected = await readAll(device);
    expect(await readAll(below)).toEqual(noise(SIZE, 1));
    await device.close();

    const again = await overlay(base(), to, { identity: 'one' });
    expect(await readAll(again)).toEqual(expected);
    expect(expected.subarray(50_000, 70_001).every((byte) => byte === 0)).toBe(true);
    expect(expected.subarray(777, 10_777)).toEqual(noise(10_000, 2));
    await again.close();
  });

  it('takes space only for what was written', async () => {
    const to = path('delta');
    const device = await overlay(memory(10 * 2 ** 30), to);
    await device.write?.(noise(4096, 1), 5 * 2 ** 30);
    await device.flush?.();
    await device.close();
    expect(statSync(to).size).toBeGreaterThan(10 * 2 ** 30);
    expect(Number(execFileSync('du', ['--block-size=1', to]).toString().split('\t')[0])).toBeLessThan(100_000);
  });

  it('does not expose the base after a trim of zeros', async () => {
    const device = await overlay(base(), path('delta'));
    await device.zero?.(8192, 8192);
    await device.trim?.(0, SIZE);
    const bytes = await readAll(device);
    expect(bytes.subarray(8192, 16_384).every((byte) => byte === 0)).toBe(true);
    await device.close();
  });

  it('reports its own blocks as extents', async () => {
    const device = await overlay(memory(65_536), path('delta'));
    await device.write?.(noise(4096, 1), 8192);
    expect(await device.extents?.(0, 65_536)).toEqual([
      { offset: 0, length: 8192, hole: true, zero: true },
      { offset: 8192, length: 4096, hole: false, zero: false },
      { offset: 12_288, length: 53_248, hole: true, zero: true },
    ]);
    await device.close();
  });

  const patched = (at: number, byte: number) => (file: string) => {
    const bytes = readFileSync(file);
    bytes[at] = byte;
    writeFileSync(file, bytes);
  };
  it.each<[what: string, damage: (file: string) => void, message: RegExp]>([
    ['a text', (file) => writeFileSync(file, 'text'), /is no overlay/],
    ['an empty file', (file) => truncateSync(file, 0), /is no overlay/],
    ['another version', patched(7, 2), /another version/],
    ['a damaged header', patched(9, 0x20), /damaged header/],
    ['a damaged checksum', patched(70, 0x20), /damaged header/],
    ['a file that was cut off', (file) => truncateSync(file, 50_000), /has 50000 bytes/],
    ['a file that grew', (file) => truncateSync(file, 500_000), /has 500000 bytes/],
    ['bits of blocks that are not', patched(4096 + 3, 0x80), /damaged bitmap/],
  ])('refuses %s', async (_what, damage, message) => {
    const to = path('delta');
    await (await overlay(base(), to)).close();
    damage(to);
    const before = readFileSync(to);
    const error = await errorOf(() => overlay(base(), to));
    expect(error.message).toMatch(message);
    expect(error.message).toContain(to);
    expect(error.code).toBe('EINVAL');
    expect(readFileSync(to)).toEqual(before);
    expect(existsSync(`${to}.lock`)).toBe(false);
  });

  it('refuses another base', async () => {
    const to = path('delta');
    await (await overlay(base(), to, { identity: 'one' })).close();
    expect((await errorOf(() => overlay(base(SIZE - 1), to, { identity: 'one' }))).message).toMatch(
      /over 100000 bytes, not/,
    );
    expect((await errorOf(() => overlay(base(), to, { identity: 'two' }))).message).toMatch(
      /another base, or another version of it, than two; bring that one back, or begin another overlay/,
    );
    expect((await errorOf(() => overlay(base(), to))).message).toMatch(/another base, which is known by its version/);
    await (await overlay(base(), to, { identity: 'one' })).close();
  });

  it('belongs to any base of its size if it was made without an identity', async () => {
    const to = path('delta');
    await (await overlay(base(), to)).close();
    await (await overlay(base(), to, { identity: 'one' })).close();
    await (await overlay(base(), to)).close();
  });

  it('refuses a file on a server that has changed in the meantime', async () => {
    const [to, content] = [path('delta'), noise(SIZE, 1)];
    let etag = '"one"';
    const server = await serve((request, response) => ranges(content, etag)(request, response));
    const open = async (): Promise<BlockBackend> => {
      const remote = readOnly(readAhead(cache(retry(stats(await http(server.url))))));
      return overlay(remote, to, { identity: remote.version });
    };
    const device = await open();
    await device.write?.(noise(10, 2), 5);
    await device.flush?.();
    await device.close();
    etag = '"two"';
    const error = await errorOf(open);
    expect(error.code).toBe('EINVAL');
    expect(error.message).toContain('than "two"; bring that one back, or begin another overlay');
    etag = '"one"';
    const again = await open();
    expect((await readAll(again)).subarray(5, 15)).toEqual(noise(10, 2));
    await again.close();
    server.close();
  });

  it('is opened by one process at a time', async () => {
    const to = path('delta');
    const device = await overlay(base(), to);
    const error = await errorOf(() => overlay(base(), to));
    expect(error.code).toBe('EBUSY');
    expect(error.message).toContain(`process ${process.pid} has it`);
    await device.close();
    await (await overlay(base(), to)).close();
  });

  it('takes over the lock of a dead process only', async () => {
    const to = path('delta');
    const device = await overlay(base(), to);
    const lock = JSON.parse(readFileSync(`${to}.lock`, 'utf8')) as Record<string, unknown>;
    await device.close();
    const other = spawn('sleep', ['1000']);
    const stat = readFileSync(`/proc/${other.pid ?? 0}/stat`, 'latin1');
    const owner = { ...lock, pid: other.pid, started: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] };
    writeFileSync(`${to}.lock`, JSON.stringify(owner));
    copyFileSync(`${to}.lock`, `${to}.kept`);
    expect((await errorOf(() => overlay(base(), to))).code).toBe('EBUSY');

    // The same process number, but another process.
    writeFileSync(`${to}.lock`, JSON.stringify({ ...owner, started: '1' }));
    await (await overlay(base(), to)).close();

    // Locks of others that died while they took it over: the current take-over, and an earlier one.
    const dead = { ...owner, started: '2' };
    const left = (path: string, content: string): string => {
      writeFileSync(path, content);
      return `${path}.${createHash('sha256').update(content).digest('hex').slice(0, 12)}`;
    };
    const first = left(`${to}.lock`, JSON.stringify({ ...dead, started: '3' }));
    left(left(first, JSON.stringify(dead)), JSON.stringify({ ...dead, started: '4' }));
    await (await overlay(base(), to)).close();
    expect(readdirSync(dirname(to)).filter((name) => name.startsWith(basename(`${to}.lock`)))).toEqual([]);

    copyFileSync(`${to}.kept`, `${to}.lock`);
    other.kill('SIGKILL');
    await once(other, 'exit');
    await (await overlay(base(), to)).close();

    writeFileSync(`${to}.lock`, JSON.stringify({ ...owner, host: 'elsewhere' }));
    expect((await errorOf(() => overlay(base(), to))).message).toMatch(/of elsewhere has it/);
    writeFileSync(`${to}.lock`, 'text');
    expect((await errorOf(() => overlay(base(), to))).message).toMatch(/no lock of this program/);
  });
});
