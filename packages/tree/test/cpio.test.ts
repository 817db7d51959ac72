/** Archives, judged by cpio itself. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { characterDevice, concat, directory, encodeHeader, file, symlink, writeCpio, type Entry } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-cpio-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let dir = '';
let count = 0;
const fresh = (): string => {
  dir = join(root, String(count++));
  mkdirSync(dir);
  return dir;
};
beforeEach(fresh);

const noCpio = spawnSync('cpio', ['--version']).error !== undefined;

function cpio(args: string[], archive: Buffer, cwd = dir): { stdout: string; stderr: string; status: number | null } {
  const env = { PATH: process.env['PATH'], TZ: 'UTC', LC_ALL: 'C.UTF-8' };
  return spawnSync('cpio', args, { input: archive, cwd, env, encoding: 'utf8', maxBuffer: 64 << 20 });
}

async function archived(entries: Iterable<Entry>): Promise<Buffer> {
  const path = join(dir, 'archive');
  await writeCpio(entries, path);
  return readFileSync(path);
}

/** Lists an archive with `cpio -itv`: mode, links, owner, size or device, time, name. */
async function listed(...entries: Entry[]): Promise<string[]> {
  const { stdout, stderr, status } = cpio(['-itv', '--quiet', '--numeric-uid-gid'], await archived(entries));
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));
}

/** Extracts an archive with `cpio -i`: a map from the path to the content, link or `/`. */
function extracted(archive: Buffer): Record<string, string> {
  const to = join(dir, 'out');
  mkdirSync(to);
  const { stderr, status } = cpio(['-i', '--quiet', '--no-absolute-filenames'], archive, to);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  const found = Object.create(null) as Record<string, string>; // makes __proto__ an ordinary name
  const visit = (folder: string): void => {
    for (const name of readdirSync(join(to, folder))) {
      const path = join(folder, name);
      const stat = lstatSync(join(to, path));
      if (stat.isDirectory()) {
        found[path] = '/';
        visit(path);
      } else
        found[path] = stat.isSymbolicLink()
          ? `-> ${readlinkSync(join(to, path))}`
          : readFileSync(join(to, path), 'latin1');
    }
  };
  visit('');
  return found;
}

const sized = (path: string, size: number, content: Iterable<string>): Entry => ({
  ...file(path, ''),
  size,
  // eslint-disable-next-line @typescript-eslint/require-await -- an async generator is what the interface wants
  open: async function* () {
    for (const part of content) yield Buffer.from(part);
  },
});

describe.skipIf(noCpio)(`an archive${noCpio ? ' (not here: cpio)' : ''}`, () => {
  it('is listed with modes, owners, sizes, devices and the first second of 1970', async () => {
    const odd: Entry = { ...file('etc/odd', 'four', 0o6751), uid: 1000, gid: 70000, mtime: 86400 };
    const entries = [
      directory('etc'),
      directory('tmp', 0o1777),
      directory('home', 0o700, { uid: 1000, gid: 1000 }),
      file('etc/empty', ''),
      odd,
      { ...odd, path: 'none', mode: 0 },
      symlink('etc/mtab', '../proc/self/mounts'),
      characterDevice('console', 0o600, [5, 1]),
      { ...characterDevice('sda', 0o660, [8, 4095]), type: 'block-device' } as const,
      { ...file('pipe', '', 0o644), type: 'fifo' } as const,
    ];
    expect(await listed(...entries)).toEqual([
      'drwxr-xr-x 1 0 0 0 Jan 1 1970 etc',
      'drwxrwxrwt 1 0 0 0 Jan 1 1970 tmp',
      'drwx------ 1 1000 1000 0 Jan 1 1970 home',
      '-rw-r--r-- 1 0 0 0 Jan 1 1970 etc/empty',
      '-rwsr-s--x 1 1000 70000 4 Jan 2 1970 etc/odd',
      '---------- 1 1000 70000 4 Jan 2 1970 none',
      'lrwxrwxrwx 1 0 0 19 Jan 1 1970 etc/mtab -> ../proc/self/mounts',
      'crw------- 1 0 0 5, 1 Jan 1 1970 console',
      'brw-rw---- 1 0 0 8, 4095 Jan 1 1970 sda',
      'prw-r--r-- 1 0 0 0 Jan 1 1970 pipe',
    ]);
  });

  const long = `${'d'.repeat(200)}/`.repeat(15) + 'e'.repeat(200);
  it.each([
    ['spaces', ' a  b '],
    ['umlauts', 'Zürich/größe'],
    ['another script', '日本語/ファイル'],
    ['four-byte characters', '😀.txt'],
    ['decomposed characters', 'e\u0301'],
    ['newlines', 'two\nlines\n'],
    ['a meaning in JavaScript', '__proto__'],
    ['quotes and backslashes', `a'b"c\\d`],
    ['a leading dash', '-rf'],
    ['each length', 'x'.repeat(255)],
    ['many folders', long],
  ])('extracts names with %s', async (_, name) => {
    const parts = name.split('/');
    const folders = parts.slice(0, -1).map((__, index) => parts.slice(0, index + 1).join('/'));
    const entries = [...folders.map((path) => directory(path)), file(name, 'content'), file('after', 'too')];
    const found = extracted(await archived(entries));
    expect(found).toEqual({
      ...Object.fromEntries(folders.map((path) => [path, '/'])),
      [name]: 'content',
      after: 'too',
    });
  });

  it('extracts content that is larger than any buffer and comes in pieces', async () => {
    const piece = 'abcdefghijklm'.repeat(4096);
    const pieces = Math.ceil((5 << 20) / piece.length);
    const archive = await archived([
      sized('big', pieces * piece.length, new Array<string>(pieces).fill(piece)),
      file('z', '1'),
    ]);
    const found = extracted(archive);
    expect(found['big']).toBe(piece.repeat(pieces));
    expect(found['z']).toBe('1');
  });

  it('may be followed by another one', async () => {
    const first = await archived([file('a', 'first'), file('b', '1')]);
    const second = await archived([file('b', '2'), file('c', 'x')]);
    expect(first.length % 4).toBe(0);
    // GNU cpio stops at the trailer, where the kernel would continue, so the rest is passed to it separately.
    expect(extracted(first)).toEqual({ a: 'first', b: '1' });
    const both = Buffer.concat([first, second]);
    const trailer = both.indexOf('TRAILER!!!') + 10;
    const next = both.indexOf('070701', trailer);
    expect(both.subarray(trailer, next).every((byte) => byte === 0)).toBe(true);
    expect(next % 4).toBe(0);
    fresh();
    expect(extracted(both.subarray(next))).toEqual({ b: '2', c: 'x' });
  });

  it('can be empty', async () => {
    expect(extracted(await archived([]))).toEqual({});
  });

  it('holds any tree of files', async () => {
    const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    const names = fc.uniqueArray(
      part.filter((name) => !/[/\0]|^\.\.?$|^TRAILER!!!$/.test(name) && Buffer.byteLength(name) < 200),
      { maxLength: 8, selector: (name) => name.normalize() },
    );
    const contents = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
    await fc.assert(
      fc.asyncProperty(names, fc.array(contents, { minLength: 8, maxLength: 8 }), async (list, texts) => {
        fresh();
        const wanted = list.map((name, index) => [name, texts[index] ?? ''] as const);
        const archive = await archived(wanted.map(([name, text]) => file(name, Buffer.from(text, 'latin1'))));
        expect(extracted(archive)).toEqual(Object.fromEntries(wanted));
      }),
      { numRuns: 40 },
    );
  });
});

describe('writing an archive', () => {
  it('gives the same bytes for the same tree', async () => {
    const entries = [directory('a'), file('a/b', 'x'), symlink('l', 'a/b')];
    const once = await archived(entries);
    expect(await archived(entries)).toEqual(once);
    expect(once.subarray(0, 110).toString()).toBe(
      '070701' +
        '00000001' +
        '000041ED' +
        '00000000'.repeat(2) +
        '00000001' +
        '00000000'.repeat(6) +
        '00000002' +
        '00000000',
    );
  });

  it('ends at a place where another archive can begin, whatever its contents', async () => {
    for (const size of [0, 1, 100, 275, 389, 390, 391, 392, 393, 394, 395, 1021]) {
      const archive = await archived([file('etc/nodeos.json', 'x'.repeat(size)), file('b', 'x')]);
      expect([size, archive.length % 4]).toEqual([size, 0]);
    }
  });

  it.each([
    ['shorter', 10, ['123']],
    ['longer', 2, ['123', '456']],
    ['nothing', 1, []],
    ['not empty', 0, ['x']],
  ])('fails and names the file if its content is %s than it should be', async (_, size, content) => {
    const entries = [file('before', 'x'), sized('etc/changed', size, content), file('after', 'x')];
    await expect(archived(entries)).rejects.toThrow(/^etc\/changed: .*size/);
  });

  it('fails and names the file if its content cannot be read', async () => {
    // eslint-disable-next-line require-yield, @typescript-eslint/require-await -- it fails before the first byte
    const open = async function* (): AsyncGenerator<Uint8Array> {
      throw new Error('the disk is on fire');
    };
    await expect(archived([{ ...file('etc/hosts', 'x'), open }])).rejects.toThrow(/^etc\/hosts: the disk is on fire/);
  });

  it('fails with the error of the tree', async () => {
    // eslint-disable-next-line @typescript-eslint/require-await -- an async generator is what the interface wants
    const tree = async function* (): AsyncGenerator<Entry> {
      yield file('a', 'x');
      throw new Error('no such folder');
    };
    await expect(writeCpio(tree(), join(dir, 'archive'))).rejects.toThrow('no such folder');
  });

  it('fails if the archive cannot be written', async () => {
    await expect(writeCpio([file('a', 'x')], join(dir, 'missing/archive'))).rejects.toThrow('ENOENT');
    writeFileSync(join(dir, 'file'), '');
    chmodSync(join(dir, 'file'), 0o600);
    await expect(writeCpio([file('a', 'x')], join(dir, 'file/archive'))).rejects.toThrow('ENOTDIR');
  });

  it('has names and targets as bytes', async () => {
    const archive = await archived([file('d\udcff', 'x'), symlink('l', '\udce9')]);
    expect(archive.includes(Buffer.from('d\xff\0', 'latin1'))).toBe(true);
    expect(archive.includes(Buffer.from('l\0\xe9', 'latin1'))).toBe(true);
  });

  it.each(['/init', '../init', 'a/../../b', 'a\0b', ''])('refuses the path %j', async (path) => {
    await expect(archived([file(path, 'x')])).rejects.toThrow('is no path of an entry');
  });

  it('has the root as a dot', async () => {
    expect((await archived([directory('', 0o711)])).subarray(110, 112).toString()).toBe('.\0');
  });

  it('concatenates trees', async () => {
    const names: string[] = [];
    for await (const { path } of concat([file('a', '')], concat([file('b', '')]), [])) names.push(path);
    expect(names).toEqual(['a', 'b']);
  });
});

describe('a header', () => {
  const header = { name: 'a', mode: 0o100644, mtime: new Date(0), size: 0 };

  it('counts a name in bytes', () => {
    const bytes = encodeHeader({ ...header, name: 'ü😀' });
    expect(bytes.toString('latin1', 94, 102)).toBe('00000007');
    expect(bytes).toHaveLength(120);
  });

  it('holds the largest possible numbers', () => {
    const bytes = encodeHeader({ ...header, size: 0xffffffff, uid: 0xffffffff, mtime: new Date(0xffffffff * 1000) });
    expect(bytes.toString('latin1', 46, 62)).toBe('FFFFFFFFFFFFFFFF');
  });

  it.each([
    ['a size of 4 GiB', { size: 2 ** 32 }],
    ['a negative size', { size: -1 }],
    ['half a byte', { size: 0.5 }],
    ['no number', { size: NaN }],
    ['an owner that is too large', { uid: 2 ** 32 }],
    ['a group below zero', { gid: -1 }],
    ['a time before 1970', { mtime: new Date(-1000) }],
    ['half a second', { mtime: new Date(500) }],
    ['a device number that is too large', { rdevmajor: 2 ** 40 }],
  ])('refuses %s', (_, wrong) => {
    expect(() => encodeHeader({ ...header, ...wrong })).toThrow(RangeError);
    expect(() => encodeHeader({ ...header, ...wrong })).toThrow(/^a: .* does not fit into a cpio header/);
  });

  it('refuses a name that the kernel would refuse', () => {
    expect(encodeHeader({ ...header, name: 'x'.repeat(4095) })).toHaveLength(110 + 4096 + 2);
    expect(() => encodeHeader({ ...header, name: 'x'.repeat(4096) })).toThrow('longer than 4096 bytes');
    expect(() => encodeHeader({ ...header, name: 'ü'.repeat(2048) })).toThrow(RangeError);
  });

  it('has a valid form and a length that is a multiple of four', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.nat(0xffffffff), (name, size) => {
        const bytes = encodeHeader({ ...header, name, size });
        expect(bytes.length % 4).toBe(0);
        expect(bytes.toString('latin1', 0, 110)).toMatch(/^070701[0-9A-F]{104}$/);
        expect(parseInt(bytes.toString('latin1', 54, 62), 16)).toBe(size);
      }),
    );
  });
});
