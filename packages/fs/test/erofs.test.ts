/** EROFS images, judged by fsck.erofs and dump.erofs. The kernel judges them at every boot. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { characterDevice, directory, file, fromDirectory, symlink, type Entry, type Tree } from '@nodeos/tree';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { crc32c } from '../crc32c.js';
import { erofs, writeErofs } from '../erofs.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-erofs-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const lacking = ['fsck.erofs', 'dump.erofs'].filter((tool) => spawnSync(tool, ['-V']).error !== undefined);
const BLOCK = 4096;
const HUGE_PAGE = 2 << 20;

let images = 0;
async function image(entries: Iterable<Entry> | Tree, align?: number, tails = false): Promise<string> {
  const path = join(root, `${images++}.erofs`);
  await writeErofs(entries, path, { tails, ...(align === undefined ? {} : { align }) });
  return path;
}

/** The files that fsck.erofs extracts: each path with its type and mode, and its content or target. */
function unpacked(path: string): Record<string, string> {
  const to = `${path}.d`;
  execFileSync('fsck.erofs', [`--extract=${to}`, '--overwrite', '--preserve-perms', path], { stdio: 'pipe' });
  const found = Object.create(null) as Record<string, string>; // makes __proto__ an ordinary name
  for (const name of readdirSync(to, { recursive: true, encoding: 'utf8' })) {
    const stat = lstatSync(join(to, name));
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isSymbolicLink()) found[name] = `-> ${readlinkSync(join(to, name))}`;
    else if (stat.isDirectory()) found[name] = `${mode}/`;
    else found[name] = `${mode} ${readFileSync(join(to, name)).toString('latin1')}`;
  }
  rmSync(to, { recursive: true, force: true });
  return found;
}

const inode = (path: string, name: string): string =>
  execFileSync('dump.erofs', [`--path=/${name}`, path], { env: { ...process.env, TZ: 'UTC' } }).toString();

describe('crc32c', () => {
  it('is the CRC of RFC 3720 without the final inversion', () => {
    const vectors: [Uint8Array, number][] = [
      [new Uint8Array(32), 0x8a9136aa],
      [new Uint8Array(32).fill(0xff), 0x62a8ab43],
      [Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
      [Buffer.from('123456789'), 0xe3069283],
    ];
    for (const [bytes, expected] of vectors) expect(~crc32c(bytes) >>> 0).toBe(expected);
  });
});

describe.skipIf(lacking.length > 0)(`an EROFS image${lacking.map((what) => ` (not here: ${what})`).join('')}`, () => {
  it('holds files, folders and links', async () => {
    const path = await image([
      directory('bin', 0o750),
      file('bin/node', 'N'.repeat(10_000), 0o755),
      file('empty', ''),
      file('block', 'b'.repeat(4096)),
      symlink('lib', 'usr/lib'),
      directory('tmp', 0o1777),
    ]);
    expect(unpacked(path)).toEqual({
      bin: '750/',
      'bin/node': `755 ${'N'.repeat(10_000)}`,
      empty: '644 ',
      block: `644 ${'b'.repeat(4096)}`,
      lib: '-> usr/lib',
      tmp: '1777/',
    });
  });

  it('has a UUID derived from its content', async () => {
    const uuid = async (...entries: Entry[]): Promise<string | undefined> =>
      /UUID:\s+([\da-f-]{36})/.exec(execFileSync('dump.erofs', ['-s', await image(entries)]).toString())?.[1];
    const all = await Promise.all(['one', 'one', 'two'].map((content) => uuid(file('of the same size', content))));
    expect(all[0]).toMatch(/^\w{8}-\w{4}-8\w{3}-[89ab]\w{3}-\w{12}$/);
    expect(all[1]).toBe(all[0]);
    expect(all[2]).not.toBe(all[0]);
    const large = 'x'.repeat(3 << 20);
    expect(await uuid(file('large', `${large}1`))).not.toBe(await uuid(file('large', `${large}2`)));
  });

  it('of an empty tree is an empty folder', async () => {
    expect(unpacked(await image([]))).toEqual({});
  });

  it('has folders of many blocks, with names of every length and script', async () => {
    const names = Array.from({ length: 600 }, (_, index) => `${'é'.repeat(index % 120)}${index}`);
    const files = ['!before the dots', '-', '.hidden', '..two', 'x'.repeat(255), ...names];
    const found = unpacked(await image(files.map((name) => file(`many/${name}`, name))));
    expect(Object.keys(found).sort()).toEqual(['many', ...files.map((name) => `many/${name}`)].sort());
  });

  it('is found from its root, also if the names in it do not fit behind the inode in the first block', async () => {
    const names = Array.from({ length: 70 }, (_, index) => `a name of some thirty letters ${index}`);
    const found = unpacked(
      await image(
        names.map((name) => file(name, name)),
        undefined,
        true,
      ),
    );
    expect(Object.keys(found).sort()).toEqual([...names].sort());
  });

  it('keeps owners, times, modes and devices', async () => {
    const owned: Entry = { ...file('owned', 'x', 0o711), uid: 100_000, gid: 70_000, mtime: 1_700_000_000.5 };
    const path = await image([owned, characterDevice('console', 0o600, [5, 300])]);
    const told = inode(path, 'owned');
    expect(told).toMatch(/Uid: 100000\s+Gid: 70000\s+Access: 0711/);
    expect(told).toContain('2023-11-14');
    // rdev, at byte 16 of the inode: the high bits of the minor number 300 = 0x12c are above the major number
    const bytes = readFileSync(path);
    const nid = Number(/NID: (\d+)/.exec(inode(path, 'console'))?.[1]);
    expect(bytes.readUInt32LE(nid * 32 + 16)).toBe((5 << 8) | 0x2c | (0x100 << 12));
  });

  it('starts large files at huge pages, and rounds its size up', async () => {
    const large = file('large', Buffer.alloc(HUGE_PAGE + 1, 7));
    const bytes = readFileSync(await image([file('a', 'a'), large, file('z', 'z')], HUGE_PAGE));
    expect(bytes.length).toBe(3 * HUGE_PAGE);
    expect([bytes[HUGE_PAGE - 1], bytes[HUGE_PAGE], bytes[2 * HUGE_PAGE], bytes[2 * HUGE_PAGE + 1]]).toEqual([
      0, 7, 7, 0,
    ]);
  });

  it('is the same for any order of the entries', async () => {
    const entries = [directory('a'), file('a/b', 'b'), file('c', 'c'), symlink('d', 'c')];
    const one = readFileSync(await image(entries));
    expect(readFileSync(await image([...entries].reverse())).equals(one)).toBe(true);
  });

  it('adds missing folders, and uses the last of two entries', async () => {
    expect(unpacked(await image([file('a/b/c', '1'), file('a/b/c', '2'), directory('a', 0o700)]))).toEqual({
      a: '700/',
      'a/b': '755/',
      'a/b/c': '644 2',
    });
  });

  it('stores small files, and the ends of others, behind their inodes', async () => {
    const folder = join(root, 'host');
    const sizes = [0, 1, 31, 4031, 4032, 4033, 4095, 4096, 4097, 8192 + 4032, 12_000, 100_000];
    mkdirSync(folder);
    for (const size of sizes) {
      const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, index) => index * 7 + (index >> 8) + size));
      writeFileSync(join(folder, `file-${size}`), bytes);
    }
    const entries = async function* (): Tree {
      yield* fromDirectory(folder, { prefix: 'host' });
      for (const size of sizes) yield file(`memory-${size}`, readFileSync(join(folder, `file-${size}`)));
      yield symlink('link', 'host/file-1');
    };
    const [plain, tails] = [await image(entries()), await image(entries(), undefined, true)];
    expect(unpacked(tails)).toEqual(unpacked(plain));
    expect(statSync(tails).size).toBeLessThan(statSync(plain).size);
    expect(inode(tails, 'host/file-31')).toMatch(/Layout: 2/);
    expect(inode(tails, 'host/file-4033')).toMatch(/Layout: 0/);
  });

  it('returns any content unchanged', { timeout: 120_000 }, async () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .map((text) => text.replace(/[/\0]/g, '_'));
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
    const usable = (text: string): boolean => text.split('/').every((part) => part !== '.' && part !== '..');
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.integer({ min: 4090, max: 4100 }).map((n) => Buffer.alloc(n, 1)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(path.filter(usable), content, { maxKeys: 30 }),
        fc.boolean(),
        async (files, tails) => {
          // A path that is a folder of another one cannot be a file.
          const paths = Object.keys(files).filter(
            (one) => !Object.keys(files).some((two) => two.startsWith(`${one}/`)),
          );
          const found = unpacked(
            await image(
              paths.map((one) => file(one, files[one] ?? '')),
              undefined,
              tails,
            ),
          );
          const contents = Object.entries(found).filter(([, text]) => !/^\d+\/$/.test(text));
          expect(Object.fromEntries(contents)).toEqual(
            Object.fromEntries(paths.map((one) => [one, `644 ${Buffer.from(files[one] ?? '').toString('latin1')}`])),
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('an EROFS image', () => {
  it.each([false, true])('leaves files of this machine where they are (tails: %s)', async (tails) => {
    const folder = join(root, `apart-${String(tails)}`);
    mkdirSync(folder);
    const sizes = { small: 100, long: 2 * BLOCK + 10, whole: 2 * BLOCK };
    for (const [name, size] of Object.entries(sizes)) writeFileSync(join(folder, name), Buffer.alloc(size, name));
    const { regions } = await erofs(fromDirectory(folder), { tails });
    const found = regions.flatMap(({ length, source }) =>
      typeof source === 'object' && 'file' in source ? [[basename(source.file), source.offset, length]] : [],
    );
    const parts = (name: keyof typeof sizes): unknown[][] => {
      const tail = tails ? sizes[name] % BLOCK : 0;
      const head = sizes[name] - tail;
      return [
        [name, 0, head],
        [name, head, tail],
      ].filter(([, , length]) => length !== 0);
    };
    expect(found.sort()).toEqual([...parts('long'), ...parts('small'), ...parts('whole')].sort());
    const held = regions.reduce((sum, { source }) => sum + (source instanceof Uint8Array ? source.length : 0), 0);
    expect(held).toBeLessThanOrEqual(2 * BLOCK); // the inodes and the folder
  });

  it.each([
    ['a/../b', 'no room for the name ".."'],
    ['a//b', 'no room for the name ""'],
    ['x'.repeat(256), 'no room for the name'],
    ['a\0', 'no room for the name'],
  ])('refuses the path %j', async (path, message) => {
    await expect(image([file(path, '')])).rejects.toThrow(message);
  });

  it('refuses an entry below a file', async () => {
    await expect(image([file('a', ''), file('a/b', '')])).rejects.toThrow('a/b: a is no folder');
    await expect(image([file('a/b', ''), file('a', '')])).rejects.toThrow(
      'a: was a folder with something in it before',
    );
  });

  it('is refused if the size of a file differs from its content', async () => {
    await expect(image([{ ...file('a', 'abc'), size: 2 }])).rejects.toThrow('a: 3 bytes instead of 2');
    await expect(image([{ ...file('a', 'abc'), size: 4 }])).rejects.toThrow('a: 3 bytes instead of 4');
  });
});
