/** Hard links, extended attributes, names as bytes, and large trees in EROFS, judged by fsck.erofs and by a mount. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  ftruncateSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { difference, file as blockFile, regions, slice } from '@nodeos/block';
import { concat, directory, file, fromDirectory, symlink, type Entry, type Tree } from '@nodeos/tree';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { erofs, GROUP_SLOT, iso, pathGroups, writeErofs, type ErofsOptions, type PlacedFile } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-erofs-complete-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MIB = 1 << 20;
const BLOCK = 4096;

const hasFincore = spawnSync('fincore', ['--version']).error === undefined;
const hasTools = ['fsck.erofs', 'dump.erofs'].every((tool) => spawnSync(tool, ['-V']).error === undefined);
const canMount =
  process.getuid?.() === 0 &&
  readFileSync('/proc/filesystems', 'utf8').includes('\terofs\n') &&
  spawnSync('losetup', ['-f']).status === 0;

let images = 0;
async function written(entries: Iterable<Entry> | Tree, options: ErofsOptions = {}): Promise<string> {
  const path = join(root, `${images++}.erofs`);
  await writeErofs(entries, path, options);
  if (hasTools) execFileSync('fsck.erofs', [path], { stdio: 'pipe' });
  return path;
}

/** Runs a Python program in the mounted image. */
function mounted(path: string, program: string): unknown {
  const to = `${path}.d`;
  mkdirSync(to);
  execFileSync('mount', ['-o', 'loop,ro', '-t', 'erofs', path, to]);
  try {
    return JSON.parse(execFileSync('python3', ['-c', program], { cwd: to, maxBuffer: 64 * MIB }).toString());
  } finally {
    execFileSync('umount', ['-l', to]); // whoever looks at all mounts may be in it
  }
}

const linked = (path: string, entry: Entry): Entry => ({ ...entry, path, hardLink: entry.path });

describe.skipIf(!canMount)('an EROFS image that the kernel mounts', () => {
  it('has hard links', async () => {
    const first = { ...file('b/first', 'content', 0o600), xattrs: new Map([['user.a', Buffer.from('1')]]) };
    const link = symlink('c/link', 'x');
    const entries = [first, linked('a', first), linked('z/third', first), link, linked('c/other', link), file('alone', 'content')]; // prettier-ignore
    for (const tails of [false, true]) {
      const path = await written(entries, { tails });
      const program = `
import os, json
stats = [os.lstat(name) for name in ['a', 'b/first', 'z/third', 'c/link', 'c/other', 'alone', '.']]
print(json.dumps([[stats.index(next(t for t in stats if t.st_ino == s.st_ino)) for s in stats], [s.st_nlink for s in stats], open('z/third').read()]))`;
      expect(mounted(path, program)).toEqual([[0, 0, 0, 3, 3, 5, 6], [3, 3, 3, 2, 2, 1, 5], 'content']);
    }
  });

  it('has extended attributes: shared ones, long ones, many', { timeout: 120_000 }, async () => {
    const shared = Buffer.alloc(500, 's');
    const sets: Record<string, Record<string, Buffer>> = {
      one: { 'user.shared': shared, 'user.own': Buffer.from([0, 255, 10]) },
      two: { 'user.shared': shared, 'trusted.empty': Buffer.alloc(0), 'security.x': Buffer.from('y') },
      long: { 'user.long': Buffer.alloc(65_535, 7), [`user.${'n'.repeat(250)}`]: Buffer.from('v') },
      many: Object.fromEntries(
        Array.from({ length: 300 }, (_, index) => [`user.${index}`, Buffer.from(`value ${index}`)]),
      ),
      'many too': Object.fromEntries(
        Array.from({ length: 300 }, (_, index) => [`user.${index}`, Buffer.from(`value ${index}`)]),
      ),
      folder: { 'user.folder': Buffer.from('f') },
      capable: { 'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex') },
    };
    const entries = Object.entries(sets).map(([name, xattrs]): Entry => ({
      ...(name === 'folder' ? directory(name) : file(name, `content of ${name}`.repeat(name === 'many' ? 300 : 1))),
      xattrs: new Map(Object.entries(xattrs)),
    }));
    const program = `
import os, json
print(json.dumps({n: {a: os.getxattr(n, a).hex() for a in os.listxattr(n)} for n in os.listdir('.')}))`;
    for (const tails of [false, true]) {
      const found = mounted(await written(entries, { tails }), program);
      const wanted = Object.entries(sets).map(([name, set]) => [
        name,
        Object.fromEntries(Object.entries(set).map(([key, value]) => [key, value.toString('hex')])),
      ]);
      expect(found).toEqual(Object.fromEntries(wanted));
    }
  });

  it('has names as bytes, nanoseconds, times before 1970, and owners of 32 bits', async () => {
    const odd: Entry = {
      ...file('ordn\udce9/d\udcff', 'x'),
      mtime: -2,
      nanoseconds: 500_000_001,
      uid: 2 ** 32 - 2,
      gid: 3e9,
    };
    const path = await written([odd, symlink('l', '\udcfe'), file('😀', '1'), file('\uff41', '2')]);
    const program = `
import os, json
s = os.stat(b'ordn\\xe9/d\\xff')
print(json.dumps([sorted(n.hex() for n in os.listdir(b'.')), s.st_mtime_ns, s.st_uid, s.st_gid, os.readlink(b'l').hex(), open('😀').read() + open('\uff41').read()]))`;
    expect(mounted(path, program)).toEqual([
      ['6c', '6f72646ee9', 'efbd81', 'f09f9880'],
      -1_499_999_999,
      2 ** 32 - 2,
      3e9,
      'fe',
      '12',
    ]);
  });

  it('has folders of 100,000 entries', { timeout: 300_000 }, async () => {
    const entries = Array.from({ length: 100_000 }, (_, index) => file(`f/${index}-${'n'.repeat(index % 60)}`, ''));
    const program = `
import os, json
names = os.listdir('f')
print(json.dumps([len(names), len(set(names)), all(os.path.getsize('f/%d-%s' % (i, 'n' * (i % 60))) == 0 for i in range(0, 100000, 997))]))`;
    expect(mounted(await written(entries, { tails: true }), program)).toEqual([100_000, 100_000, true]);
  });

  it('has 20,000 folders within each other', { timeout: 300_000 }, async () => {
    const path = join(root, 'deep.erofs');
    await writeErofs([file(`${'d/'.repeat(20_000)}file`, 'deep')], path, { tails: true });
    const program = `
import os, json
depth = 0
while os.path.isdir('d'):
  os.chdir('d'); depth += 1
text = open('file').read()
os.chdir('/')
print(json.dumps([depth, text]))`;
    expect(mounted(path, program)).toEqual([20_000, 'deep']);
  });

  it('has files above 4 GiB', { timeout: 300_000 }, async () => {
    mkdirSync(join(root, 'large'));
    const fd = openSync(join(root, 'large/file'), 'w');
    writeSync(fd, 'middle', 4.5 * 2 ** 30);
    ftruncateSync(fd, 5 * 2 ** 30 + 10);
    closeSync(fd);
    const tree = concat(fromDirectory(join(root, 'large')), [file('z', 'after')]);
    const path = await written(tree, { tails: true });
    expect(statSync(path).blocks * 512).toBeLessThan(MIB);
    const program = `
import os, json
f = open('file', 'rb'); f.seek(9 * 2**29)
print(json.dumps([os.path.getsize('file'), f.read(7).hex(), open('z').read()]))`;
    expect(mounted(path, program)).toEqual([5 * 2 ** 30 + 10, `${Buffer.from('middle').toString('hex')}00`, 'after']);
  });

  it('has its files in path groups, with holes between them', async () => {
    const entries = Array.from({ length: 300 }, (_, index) => file(`d${index % 7}/f${index}`, Buffer.alloc((index * 977) % 40_000, index))); // prettier-ignore
    entries.push(file('d3/large', Buffer.alloc(700_000, 'L')), symlink('link', 'd3/large'));
    const image = await erofs(entries, { tails: 'folders', place: pathGroups });
    const path = await written(entries, { tails: 'folders', place: pathGroups });
    expect(image.size).toBeGreaterThan(2 * (statSync(path).blocks * 512));
    const program = `
import os, json, hashlib
found = {}
for folder, _, names in os.walk('.'):
  for n in names:
    p = os.path.join(folder, n)
    found[p[2:]] = hashlib.sha256(open(p, 'rb').read()).hexdigest()
print(json.dumps(found))`;
    const plain = mounted(await written(entries), program);
    expect(mounted(path, program)).toEqual(plain);
    expect(Object.keys(plain as object)).toHaveLength(302);
  });
});

it.skipIf(!hasFincore)('an image of 512 MiB is written past the page cache, and is the same', async () => {
  const [data, size] = [Buffer.alloc(20 * MIB, 'some data, '), 513 * MIB];
  const folder = mkdtempSync(join(root, 'sparse-'));
  for (const [name, at, length] of [
    ['large', size - data.length - 5, size],
    ['small', 0, 5000],
  ] as const) {
    const fd = openSync(join(folder, name), 'w');
    writeSync(fd, data, 0, Math.min(data.length, length), at);
    ftruncateSync(fd, length);
    closeSync(fd);
  }
  const path = await written(fromDirectory(folder));
  // fsck.erofs has read the start of it.
  const cached = Number(execFileSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', path]).toString());
  expect(cached).toBeLessThan(4 * MIB);
  const { regions: list, size: bytes } = await erofs(fromDirectory(folder));
  const described = regions(list, { size: bytes });
  const image = blockFile(path, { readOnly: true });
  // But for the UUID, and the checksum over it.
  const [left, right] = [slice(described, BLOCK, bytes - BLOCK), slice(await image, BLOCK, bytes - BLOCK)];
  expect(await difference(left, right)).toBeUndefined();
  await left.close();
  await right.close();
  expect(statSync(path).blocks * 512).toBeLessThan(22 * MIB);
});

it('a CD has targets of links as bytes', async () => {
  const { regions } = await iso([symlink('l', 'x\udcff')], { label: 'A' });
  const bytes = Buffer.concat(regions.flatMap(({ source }) => (source instanceof Uint8Array ? [source] : [])));
  expect(bytes.includes(Buffer.from('x\xff', 'latin1'))).toBe(true);
});

describe('path groups', () => {
  const BLOCK = 4096;
  const of = (...sizes: number[]): PlacedFile[] => sizes.map((size, index) => ({ path: `p/${index}`, size }));

  it('start at slots, are not cut by them, and do not overlap', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 2 * MIB })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(sizes, fc.nat(MIB), (some, start) => {
        const files = of(...some);
        let end = start;
        for (const [index, offset] of pathGroups(files, start).entries()) {
          const size = some[index] ?? 0;
          expect(offset).toBeGreaterThanOrEqual(end);
          expect(offset % BLOCK).toBe(0);
          if (size >= 64 << 10) expect(offset % GROUP_SLOT).toBe(0);
          else expect(Math.floor(offset / GROUP_SLOT)).toBe(Math.floor((offset + size - 1) / GROUP_SLOT));
          end = offset + size;
        }
      }),
    );
  });

  it('are 64 KiB on average', () => {
    const files = of(...Array.from({ length: 20_000 }, (_, index) => 1 + ((index * 7919) % 30_000)));
    const offsets = pathGroups(files, 0);
    const groups = new Set(offsets.map((offset) => Math.floor(offset / GROUP_SLOT))).size;
    const bytes = files.reduce((sum, { size }) => sum + Math.ceil(size / BLOCK) * BLOCK, 0);
    expect(bytes / groups / 1024).toBeGreaterThan(45);
    expect(bytes / groups / 1024).toBeLessThan(75);
  });

  it('stay the same around a file that is added', () => {
    const files = of(...Array.from({ length: 2000 }, (_, index) => 1 + ((index * 7919) % 30_000)));
    const chunksOf = (list: readonly PlacedFile[]): Set<string> => {
      const chunks = new Map<number, string>();
      for (const [index, offset] of pathGroups(list, 0).entries()) {
        const slot = Math.floor(offset / GROUP_SLOT);
        chunks.set(slot, `${chunks.get(slot) ?? ''} ${list[index]?.path} ${offset % GROUP_SLOT}`);
      }
      return new Set(chunks.values());
    };
    const before = chunksOf(files);
    const after = chunksOf([...files.slice(0, 1000), { path: 'p/added', size: 5000 }, ...files.slice(1000)]);
    expect([...after].filter((chunk) => !before.has(chunk)).length).toBeLessThan(6);
  });
});

describe('an EROFS image refuses', () => {
  const first = file('a', 'x');
  it.each<[string, Entry[], string]>([
    ['a hard link to nothing', [linked('b', first)], 'b: a hard link to "a", which is no earlier file'],
    [
      'a hard link to a folder',
      [directory('a'), { ...directory('b'), hardLink: 'a' }],
      'which is no earlier directory',
    ],
    [
      'an attribute of another kind',
      [{ ...first, xattrs: new Map([['btrfs.x', Buffer.of(1)]]) }],
      '"a": EROFS has no room for the attribute "btrfs.x"',
    ],
    ['an attribute of 64 KiB', [{ ...first, xattrs: new Map([['user.x', Buffer.alloc(65_536)]]) }], 'has 65536 bytes'],
    ['a name that is two', [file('\ud800', 'x')], 'is the name of no file'],
  ])('%s', async (_, entries, message) => {
    await expect(erofs(entries)).rejects.toThrow(message);
    await expect(erofs(entries)).rejects.toThrow(RangeError);
  });

  it.each([
    ['before the contents', () => 0],
    ['within a block', (start: number) => start + 1],
    ['not there', () => NaN],
  ])('a place that is %s', async (_, at) => {
    await expect(erofs([first], { place: (files, start) => files.map(() => at(start)) })).rejects.toThrow(
      'is no free block',
    );
  });
});

describe('a content above 1 MiB that is in no file', () => {
  const size = 3 * MIB + 100;
  const all = Buffer.from(Uint8Array.from({ length: size }, (_, index) => index * 31 + (index >> 12)));
  const streamed = (length: number, open: Entry['open']): Entry => ({
    ...file('large', ''),
    size: length,
    ...(open && { open }),
  });
  const inPieces = async function* (offset = 0): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    for (let at = offset; at < size; at += 10_007) yield all.subarray(at, at + 10_007);
  };

  it.each([false, true])('is read when the image is (tails: %s)', async (tails) => {
    const streams = await written([streamed(size, inPieces)], { tails });
    expect(readFileSync(streams).includes(all.subarray(0, 3 * MIB))).toBe(true);
    if (hasTools) expect(readFileSync(streams).includes(all.subarray(3 * MIB))).toBe(true);
    const { regions } = await erofs([streamed(size, inPieces)], { tails });
    expect(regions.every(({ source }) => !(source instanceof Uint8Array) || source.length < 3 * 4096)).toBe(true);
  });

  it.each([size - 1, size + 1])('is an error if it has not %i bytes', async (wrong) => {
    await expect(writeErofs([streamed(wrong, inPieces)], join(root, 'wrong'))).rejects.toThrow('bytes instead of');
  });
});
