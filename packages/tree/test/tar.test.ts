/** Tar archives, judged by GNU tar. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import {
  characterDevice,
  directory,
  file,
  pathOf,
  readTar,
  symlink,
  tarStream,
  writeTar,
  type Entry,
} from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-tar-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const env = { PATH: process.env['PATH'], TZ: 'UTC', LC_ALL: 'C.UTF-8' };

async function archive(entries: Iterable<Entry>): Promise<string> {
  const path = join(root, `${count++}.tar`);
  await writeTar(entries, path);
  return path;
}

/** What GNU tar lists: mode, owner, size or device, time, name. */
async function listed(...entries: Entry[]): Promise<string[]> {
  const args = ['--numeric-owner', '--full-time', '-tvf', await archive(entries)];
  const { stdout, stderr, status } = spawnSync('tar', args, { env, encoding: 'utf8' });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));
}

describe('tar', () => {
  it('keeps types, modes, owners, times, links and devices', async () => {
    expect(
      await listed(
        directory('home', 0o1777, { uid: 1000, gid: 1001 }),
        { ...file('home/x', 'abc', 0o4755), mtime: 1_700_000_000 },
        file('none', '', 0),
        symlink('bin', 'usr/bin'),
        characterDevice('dev/console', 0o600, [5, 1]),
        { ...file('disk', ''), type: 'block-device', mode: 0o660, rdev: [8, 300] },
        { ...file('pipe', ''), type: 'fifo', mode: 0o600 },
      ),
    ).toEqual([
      'drwxrwxrwt 1000/1001 0 1970-01-01 00:00:00 home/',
      '-rwsr-xr-x 0/0 3 2023-11-14 22:13:20 home/x',
      '---------- 0/0 0 1970-01-01 00:00:00 none',
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 bin -> usr/bin',
      'crw------- 0/0 5,1 1970-01-01 00:00:00 dev/console',
      'brw-rw---- 0/0 8,300 1970-01-01 00:00:00 disk',
      'prw------- 0/0 0 1970-01-01 00:00:00 pipe',
    ]);
  });

  it('keeps long names and others than ASCII, of files and of links', async () => {
    const long = Array.from({ length: 40 }, (_, n) => `folder-${n}`).join('/');
    const lines = await listed(file(long, 'x'), file('grüße/日本', 'y'), symlink('link', `${long}é`));
    expect(lines.map((line) => line.replace(/^\S+ \S+ \d+ \S+ \S+ /, ''))).toEqual([
      long,
      'grüße/日本',
      `link -> ${long}é`,
    ]);
  });

  it('any tree is extracted as it was', async () => {
    const name = fc
      .string({ minLength: 1, maxLength: 60, unit: 'grapheme' })
      .filter((text) => !/[/\0\\\n]|^\.{1,2}$/.test(text));
    const content = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.constant(new Uint8Array(200_000).fill(7)));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, content, { maxKeys: 8 }), async (files) => {
        const entries = Object.entries(files).map(([path, bytes]) => file(`d/${path}`, bytes, 0o640));
        const path = await archive([directory('d'), ...entries]);
        const to = join(root, `${count++}`);
        mkdirSync(to);
        execFileSync('tar', ['-xpf', path, '-C', to], { env });
        const found = readdirSync(join(to, 'd')).map((one) => [one, sha256(readFileSync(join(to, 'd', one)))]);
        const wanted = Object.entries(files).map(([one, bytes]) => [one, sha256(bytes)]);
        expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
      }),
      { numRuns: 30 },
    );
  });

  it('extracts links and owners', async () => {
    const path = await archive([file('x', '1', 0o600), symlink('y', 'x')]);
    const to = join(root, `${count++}`);
    mkdirSync(to);
    execFileSync('tar', ['-xpf', path, '-C', to], { env });
    expect(readlinkSync(join(to, 'y'))).toBe('x');
    expect(lstatSync(join(to, 'x')).mode & 0o7777).toBe(0o600);
  });

  it('is the same each time, and ends with two empty blocks', async () => {
    const entries = (): Entry[] => [directory('a'), file('a/b', 'c'), symlink('d', 'a')];
    const [one, two] = [readFileSync(await archive(entries())), readFileSync(await archive(entries()))];
    expect(one.equals(two)).toBe(true);
    expect(one.length).toBe(6 * 512);
    expect(one.subarray(-1024)).toEqual(Buffer.alloc(1024));
  });

  it('keeps large owners, times before 1970 and after 2038, nanoseconds and hard links', async () => {
    const one = {
      ...file('one', 'abc'),
      uid: 3_000_000,
      gid: 4_294_967_290,
      mtime: 9_000_000_000,
      nanoseconds: 123_456_789,
    };
    const lines = await listed(one, { ...one, path: 'two', hardLink: 'one' }, { ...file('past', ''), mtime: -5 });
    expect(lines).toEqual([
      '-rw-r--r-- 3000000/4294967290 3 2255-03-14 16:00:00.123456789 one',
      'hrw-r--r-- 3000000/4294967290 0 2255-03-14 16:00:00.123456789 two link to one',
      '-rw-r--r-- 0/0 0 1969-12-31 23:59:55 past',
    ]);
  });

  it('keeps extended attributes, as bytes', async () => {
    const xattrs = new Map([
      ['user.mime', Buffer.from('text/plain')],
      ['security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex')],
    ]);
    const path = await archive([{ ...file('x', '1'), xattrs }]);
    const text = execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-tvvf', path], { env, encoding: 'utf8' });
    expect(text).toMatch(
      /x: 20 security\.capability[^]*x: 10 user\.mime|x: 10 user\.mime[^]*x: 20 security\.capability/,
    );
  });

  it('gives back by our reader what was written, whatever it was', async () => {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 120 })
      .map((bytes) => pathOf(bytes.map((byte) => (byte === 0 || byte === 0x2f || byte === 0x2e ? 0x61 : byte))));
    const entry = fc.record({
      path: name,
      uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      mtime: fc.integer({ min: -(2 ** 33), max: 2 ** 36 }),
      nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
      xattr: fc.uint8Array({ maxLength: 50 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(entry, { selector: ({ path }) => path, minLength: 1, maxLength: 5 }),
        async (all) => {
          const entries = all.map(({ xattr, ...rest }): Entry => ({
            ...file(rest.path, 'abc'),
            ...rest,
            xattrs: new Map([['user.x', xattr]]),
          }));
          const found: object[] = [];
          for await (const { path, uid, gid, mtime, nanoseconds = 0, xattrs } of readTar(
            createReadStream(await archive(entries)),
          ))
            found.push({
              path,
              uid,
              gid,
              mtime,
              nanoseconds,
              xattr: Buffer.from(xattrs?.get('user.x') ?? []).toString('hex'),
            });
          expect(found).toEqual(all.map((one) => ({ ...one, xattr: Buffer.from(one.xattr).toString('hex') })));
        },
      ),
      { numRuns: 50 },
    );
  });

  it.each<[Partial<Entry>, string]>([
    [{ uid: 2 ** 32 }, 'the owner 4294967296 does not fit'],
    [{ gid: -1 }, 'the group -1 does not fit'],
    [{ gid: -1, mtime: -1 }, 'the group -1 does not fit'],
    [{ mtime: 0.5 }, 'the time 0.5 does not fit'],
    [{ size: 2 }, 'its content has not the 2 bytes'],
    [{ size: 0 }, 'its content has not the 0 bytes'],
    [{ path: '/init' }, 'is no path of an entry'],
    [{ path: '../init' }, 'is no path of an entry'],
    [{ path: 'a/../../b' }, 'is no path of an entry'],
    [{ path: 'a\0b' }, 'is no path of an entry'],
  ])('refuses %j', async (change, message) => {
    await expect(archive([{ ...file('x', '1'), ...change }])).rejects.toThrow(message);
  });

  it('passes on the error of a content', async () => {
    const broken: Entry = {
      ...file('x', '1'),
      // eslint-disable-next-line @typescript-eslint/require-await, require-yield
      open: async function* () {
        throw new Error('no such luck');
      },
    };
    await expect(archive([broken])).rejects.toThrow('no such luck');
  });
});

describe('an archive as a stream', () => {
  it('has the bytes of the file', async () => {
    const entries = [directory('d'), file('d/x', Buffer.alloc(3_000_000, 'x')), symlink('l', 'd')];
    const chunks: Buffer[] = [];
    for await (const chunk of tarStream(entries)) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(readFileSync(await archive(entries)))).toBe(true);
  });

  it('ends with the error of a content, and closes contents when nobody reads on', { timeout: 20_000 }, async () => {
    const failing = [{ ...file('x', 'abc'), size: 4 }];
    await expect(tarStream(failing).toArray()).rejects.toThrow(/x: its content has not the 4 bytes/);
    let isClosed = false;
    const endless = async function* (): AsyncGenerator<Buffer> {
      try {
        for (;;) yield await Promise.resolve(Buffer.alloc(1 << 20));
      } finally {
        isClosed = true;
      }
    };
    for await (const chunk of tarStream([{ ...file('x', ''), size: 2 ** 40, open: endless }]))
      if ((chunk as Buffer).length > 1000) break;
    await expect.poll(() => isClosed).toBe(true);
  });
});
