import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseSize, closing, formatSize } from '@nodeos/base';
import { memory, type BlockBackend } from '@nodeos/block';
import { closersOf, localPath, mountsOf, nameOf, openDestination, openSource } from '@nodeos/disk';
import { wantedOf } from '../nbd/wanted.js';
import { lineOf } from '../nbd/progress.js';
import { unlessKilled } from '../nbd/stop.js';
import { activated, listenAt, withExport } from '../nbd/uris.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['65536', 65536],
    ['512M', 512 << 20],
    ['1.5k', 1536],
    ['1GiB', 1 << 30],
    ['2T', 2 ** 41],
  ])('%s is a size', (text, bytes) => expect(parseSize(text, '--size')).toBe(bytes));

  it.each(['', 'M', '-1', '1X', '1.3', '9999P', '0x10'])('%j is not a size', (text) =>
    expect(() => parseSize(text, '--size')).toThrow(`--size ${text}: expected a size`),
  );

  it('are printed readably', () => {
    expect([0, 1023, 1024, 1536, 3 << 20, 150.4 * 1024, 2 ** 41].map(formatSize)).toEqual([
      ...['0 bytes', '1023 bytes', '1 KiB', '1.5 KiB', '3 MiB', '150 KiB', '2 TiB'],
    ]);
  });
});

describe('sources', () => {
  it('are called by the last part of their names', () => {
    expect(['a/disk.img', 'https://x/y/d%20k.img?z=1', 's3://bucket/a/key', 'nbd://host/usr'].map(nameOf)).toEqual([
      ...['disk.img', 'd k.img', 'key', 'usr'],
    ]);
  });

  it('are files unless they look like something else', () => {
    expect(['x', './http://x', 'C:x', 'a:b', 'file:x', 'file:///x/y', 'http://x', 'memory:1'].map(localPath)).toEqual([
      ...['x', './http://x', 'C:x', 'a:b', 'x', '/x/y', undefined, undefined],
    ]);
    expect(() => localPath('gopher://x')).toThrow('nothing is known of gopher://');
  });

  it('are opened read-only unless they are to be written', async () => {
    const path = join(folder, 'plain');
    writeFileSync(path, 'hello');
    const [read, written] = [await openSource(path), await openSource(`file:${path}`, { write: true })];
    expect([read.size, typeof read.write, typeof written.write]).toEqual([5, 'undefined', 'function']);
    await Promise.all([read.close(), written.close()]);
    await expect(openSource('https://x/y', { write: true })).rejects.toThrow('https://x/y: cannot be written');
    await expect(openSource('s3://nothing')).rejects.toThrow(/s3:\/\/nothing/);
  });

  it('get export names', () => {
    expect(wantedOf(['a/x.img'], undefined)).toEqual([{ name: '', source: 'a/x.img' }]);
    expect(wantedOf(['a/x.img'], 'disk')).toEqual([{ name: 'disk', source: 'a/x.img' }]);
    expect(wantedOf(['one=a/x=y', 'b/z', 'http://h/p?q=1', '=w'], undefined)).toEqual([
      { name: 'one', source: 'a/x=y' },
      { name: 'z', source: 'b/z' },
      { name: 'p', source: 'http://h/p?q=1' },
      { name: '', source: 'w' },
    ]);
    expect(() => wantedOf(['a/x', 'b/x'], undefined)).toThrow('two sources are called x');
  });
});

it('an unfinished destination leaves the old file in place', async () => {
  const path = join(folder, 'there');
  writeFileSync(path, 'before');
  const destination = await openDestination(path, 100, {});
  expect(destination).toMatchObject({ isZero: true, isLocal: true });
  await destination.close();
  expect((await openSource(path)).size).toBe(6);
  const other = await openDestination(path, 100, {});
  await other.finish();
  await other.close();
  expect((await openSource(path)).size).toBe(100);
});

it('the mount point of a device is found in mountinfo', () => {
  const lines = [
    '36 35 8:1 / / rw,noatime - ext4 /dev/sda1 rw',
    '37 35 8:2 / /a\\040b rw - ext4 /dev/sda2 rw',
    '38 35 8:2 /x /mnt rw - ext4 /dev/sda2 rw',
    '39 35 259:300 / /nvme rw - ext4 /dev/nvme rw',
    '',
  ].join('\n');
  expect(mountsOf(lines, (8 << 8) | 2)).toEqual(['/a b', '/mnt']);
  expect(mountsOf(lines, (259 << 8) | (300 & 0xff) | ((300 & 0xfff00) << 12))).toEqual(['/nvme']);
  expect(mountsOf(lines, (8 << 8) | 3)).toEqual([]);
});

it('a line of progress shows percent, amounts, rate and time left', () => {
  expect(lineOf('copied', { done: 256 << 20, size: 1 << 30, seconds: 2 })).toBe(
    'copied 25 %: 256 MiB of 1 GiB, 128 MiB/s, 6 s left',
  );
});

describe('URIs', () => {
  it.each([
    ['nbd://127.0.0.1:10809', '', 'nbd://127.0.0.1:10809'],
    ['nbd://[::1]:10809', 'a/b c', 'nbd://[::1]:10809/a/b%20c'],
    ['nbd+unix:///?socket=/tmp/x', 'disk', 'nbd+unix:///disk?socket=/tmp/x'],
    ['nbds://alice@host/old?tls-psk-file=/x', 'new', 'nbds://alice@host/new?tls-psk-file=/x'],
    ['nbds+unix://alice@/?socket=/x', 'new', 'nbds+unix://alice@/new?socket=/x'],
    ['nbds://host/old?tls-certificates=/x', 'new', 'nbds://host/new?tls-certificates=/x'],
  ])('combine %s with the export %j', (uri, name, expected) => expect(withExport(uri, name)).toBe(expected));

  it('give the address to listen on', () => {
    expect(listenAt('nbd://0.0.0.0:0', false)).toEqual({ host: '0.0.0.0', port: 0 });
    expect(listenAt('nbds+unix:///?socket=/x', true)).toEqual({ path: '/x' });
  });

  it('use the file descriptors that a service manager passes to the named process', () => {
    expect(activated({ LISTEN_PID: '7', LISTEN_FDS: '2' }, 7)).toEqual([{ fd: 3 }, { fd: 4 }]);
    expect(activated({ LISTEN_PID: '8', LISTEN_FDS: '2' }, 7)).toEqual([]);
    expect(activated({}, 7)).toEqual([]);
  });
});

it('the second Ctrl-C abandons pending work', async () => {
  const [stop, kill] = [new AbortController(), new AbortController()];
  const forever = new Promise<never>(() => undefined);
  const given = unlessKilled(forever, { signal: stop.signal, kill: kill.signal });
  stop.abort(new Error('interrupted'));
  kill.abort();
  await expect(given).rejects.toThrow('interrupted');
});

it('a device that cannot be flushed is closed and named', async () => {
  let isClosed = false;
  const device: BlockBackend = {
    ...memory(1),
    size: 1,
    flush: () => Promise.reject(new Error('EIO')),
    close: () => void (isClosed = true),
  };
  const work = closing(Promise.resolve(), closersOf(device, '--persist x'));
  await expect(work).rejects.toThrow('--persist x: what was written last may be lost: EIO');
  expect(isClosed).toBe(true);
});
