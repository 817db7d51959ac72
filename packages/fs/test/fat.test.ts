/** FAT volumes, judged by fsck.fat and mtools. */
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directory, file, fromDirectory, symlink, type Entry } from '@nodeos/tree';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { layoutFor } from '../fat-layout.js';
import { fold, problemOf } from '../fat-names.js';
import { fat, fatSizeFor, readFat, type FatBits, type FatOptions } from '../index.js';
import { bytesOf, check, device, extracted, lacking, lackingNote, read, tool, write, type Files } from './fat-tools.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-fat-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const KIB = 1 << 10;
const MIB = 1 << 20;
const GIB = 1 << 30;
const KINDS: Record<FatBits, number> = { 12: 4 * MIB, 16: 24 * MIB, 32: 300 * MIB };
const kinds = [12, 16, 32] as const;

let images = 0;
const image = (entries: Iterable<Entry>, options: FatOptions): Promise<string> =>
  write(entries, options, join(root, `${images++}.img`));
const NOISE = Uint8Array.from({ length: 10_007 }, (_, index) => (index * 7 + (index >> 8)) & 0xff);
const noise = (length: number): Buffer => (length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, NOISE));

/** The folders that files are in. */
const foldersOf = (paths: readonly string[]): Files =>
  Object.fromEntries(
    paths.flatMap(
      (path) =>
      path.split('/').slice(0, -1).map((_, depth, parts) => [parts.slice(0, depth + 1).join('/'), '/']), // prettier-ignore
    ),
  );

const TREE = [
  directory('EFI'),
  file('EFI/BOOT/BOOTX64.EFI', noise(70_000)),
  file('loader/entries/a long name.conf', 'title NodeOS\n'),
  file('README.TXT', 'short'),
  file('readme-first.txt', 'long'),
  file('.hidden', 'h'),
  file('tar.gz.sig', 's'),
  file('empty', ''),
  file('[x]=+,;', 'odd'),
  file(' leading', 'space'),
  file('x'.repeat(255), 'longest'),
  file('ü'.repeat(13), 'one part'),
  file('Ünïcödé – 日本語.txt', 'others'),
  directory('folder'),
];
const FILES: Files = {
  ...foldersOf(TREE.map(({ path }) => path)),
  'EFI/BOOT/BOOTX64.EFI': noise(70_000).toString('latin1'),
  'loader/entries/a long name.conf': 'title NodeOS\n',
  'README.TXT': 'short',
  'readme-first.txt': 'long',
  '.hidden': 'h',
  'tar.gz.sig': 's',
  empty: '',
  '[x]=+,;': 'odd',
  ' leading': 'space',
  ['x'.repeat(255)]: 'longest',
  ['ü'.repeat(13)]: 'one part',
  'Ünïcödé – 日本語.txt': 'others',
  folder: '/',
};

describe.skipIf(lacking.length > 0)(`a FAT volume${lackingNote}`, () => {
  it.each(kinds)('of %s bits holds files and folders', async (bits) => {
    const path = await image(TREE, { size: KINDS[bits], bits, label: 'NodeOS' });
    check(path);
    expect(extracted(path)).toEqual(FILES);
    expect(tool('mdir', '-i', path, '::/')).toMatch(/Volume in drive : is NODEOS\s/);
    expect(tool('mtype', '-i', path, '::/LOADER/ENTRIES/ALONGN~1.CON')).toBe('title NodeOS\n');
  });

  it.each([
    [4084, 12],
    [4085, 16],
    [65_524, 16],
    [65_525, 32],
  ] as const)('may be full, with %s clusters (FAT%s)', async (clusters, bits) => {
    let size = clusters * 512;
    while ((layoutFor(size, { bits, clusterSize: 512 }, 1)?.clusters ?? 0) < clusters) size += 512;
    const room = (clusters - (bits === 32 ? 1 : 0)) * 512;
    const content = noise(room);
    const path = await image([file('ALL', content)], { size, bits, clusterSize: 512 });
    expect(check(path)).toEqual({ used: clusters, clusters });
    expect(extracted(path)).toEqual({ ALL: content.toString('latin1') });
    const more = fat([file('ALL', noise(room + 1))], { size, bits, clusterSize: 512 });
    await expect(more).rejects.toThrow(`need ${room + 512 + (bits === 32 ? 512 : 0)} bytes in clusters of 512`);
    const other = bits === 12 || clusters === 65_524 ? size + 512 : size - 512;
    await expect(fat([], { size: other, bits, clusterSize: 512 })).rejects.toThrow(`cannot be FAT${bits}`);
  });

  it.each([
    [160 * KIB, 12, 4096],
    [8 * MIB, 12, 4096],
    [17 * MIB, 16, 4096],
    [300 * MIB, 16, 8192],
    [512 * MIB, 32, 4096],
    [9 * GIB, 32, 8192],
  ])('of %s bytes is FAT%s with clusters of %s bytes', async (size, bits, clusterSize) => {
    const path = await image([file('a', 'a')], { size });
    const told = tool('fsck.fat', '-n', '-v', path);
    expect(told).toContain(`${clusterSize} bytes per cluster`);
    expect(told).toContain(`${bits} bit entries`);
    expect((await readFat(await device([], { size }))).format).toBe(`fat${bits}`);
  });

  it('of 16 GiB takes little space and memory', async () => {
    const before = process.memoryUsage().rss;
    const path = await image(TREE, { size: 16 * GIB });
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * MIB);
    expect(statSync(path).size).toBe(16 * GIB);
    expect(statSync(path).blocks * 512).toBeLessThan(2 * MIB);
    check(path);
    expect(extracted(path)).toEqual(FILES);
  });

  it('knows which sector of its disk it starts at, and its number', async () => {
    const bytes = await bytesOf([], { size: MIB, hiddenSectors: 2048, serial: 0xfedcba98 });
    expect(bytes.readUInt32LE(28)).toBe(2048);
    const path = await image([], { size: MIB, serial: 0xfedcba98 });
    expect(tool('mdir', '-i', path, '::/')).toContain('FEDC-BA98');
  });

  it('keeps times, within what the format can hold', async () => {
    const at = (name: string, mtime: number): Entry => ({ ...file(name, ''), mtime });
    const path = await image(
      [at('now', 1_700_000_003.7), at('EARLY', -5), at('LATE', 2 ** 40), { ...directory('D'), mtime: 1e9 }],
      { size: MIB },
    );
    check(path);
    const found = extracted(path, true);
    delete found['LATE']; // mtools takes 2100 for a leap year
    expect(found).toEqual({
      now: '1700000002 ',
      EARLY: `${Date.UTC(1980, 0, 1) / 1000} `,
      D: '/',
    });
    const told = tool('mdir', '-i', path, '::/');
    expect(told).toMatch(/^D .* 2001-09-09 {3}1:46/m);
    expect(told).toMatch(/^LATE .* 2107-12-31 {2}23:59/m);
  });

  it('gives each file a short name of its own', async () => {
    const names = Array.from({ length: 1200 }, (_, index) => `document number ${index}.text`);
    const others = ['DOCUME~1.TEX', 'docume~3.tex', '😀😀😀😀', 'ß', 'SS', '...dots', 'a.b.c', 'NAME.', 'name .x'];
    const used = others.filter((name) => problemOf(name) === undefined);
    const path = await image(
      [...names, ...used].map((name) => file(`d/${name}`, name)),
      { size: 16 * MIB },
    );
    check(path);
    const found = extracted(path);
    expect(found).toMatchObject(Object.fromEntries(names.map((name) => [`d/${name}`, name])));
    // mtools has no surrogate pairs.
    expect(found['d/________']).toBe(Buffer.from('😀😀😀😀').toString('latin1'));
    expect(tool('mtype', '-i', path, '::/D/DOCUME~1.TEX')).toBe('DOCUME~1.TEX');
    expect(tool('mtype', '-i', path, '::/D/DOCUME~3.TEX')).toBe('docume~3.tex');
    expect(tool('mtype', '-i', path, '::/D/DOCUME~2.TEX')).toBe('document number 0.text');
    expect(tool('mtype', '-i', path, '::/D/AB~1.C')).toBe('a.b.c');
    expect(tool('mtype', '-i', path, '::/D/DOTS~1')).toBe('...dots');
  });

  it('has a root folder for any number of names', async () => {
    const names = Array.from({ length: 700 }, (_, index) => `a file with a rather long name ${index}`);
    for (const bits of kinds) {
      const path = await image(names.map((name) => file(name, name)), { size: KINDS[bits], bits }); // prettier-ignore
      check(path);
      expect(Object.keys(extracted(path)).sort()).toEqual([...names].sort());
    }
  });

  it('has places where each content is', { timeout: 120_000 }, async () => {
    const path = await image(TREE, { size: 24 * MIB });
    const { places } = await fat(TREE, { size: 24 * MIB });
    const bytes = await bytesOf(TREE, { size: 24 * MIB });
    const files = TREE.filter(({ type }) => type === 'file').map(({ path: name }) => name);
    expect([...places.keys()].sort()).toEqual([...files].sort());
    const found = extracted(path);
    for (const [name, { offset, length }] of places) {
      expect(offset % 4096).toBe(0);
      expect(bytes.toString('latin1', offset, offset + length)).toBe(found[name]);
    }
  });

  it('returns any content unchanged, to mcopy and to our reader', { timeout: 120_000 }, async () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 24 })
      .filter((text) => problemOf(text) === undefined && Buffer.byteLength(text) < 250);
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
    const content = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 500, max: 9000 }).map(noise));
    const sizes = fc.constantFrom(...kinds);
    const cluster = fc.constantFrom(512, 2048, undefined);
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(path, content, { maxKeys: 30 }),
        sizes,
        cluster,
        async (drawn, bits, clusterSize) => {
          const files = compatible(drawn);
          const entries = Object.entries(files).map(([one, bytes]) => file(one, bytes));
          const fits = clusterSize !== undefined && layoutFor(KINDS[bits], { bits, clusterSize }, 1) !== undefined;
          const options = { size: KINDS[bits], bits, ...(fits && { clusterSize }) };
          const written = await image(entries, options);
          check(written);
          const expected = {
            ...foldersOf(Object.keys(files)),
            ...Object.fromEntries(
              Object.entries(files).map(([one, bytes]) => [one, Buffer.from(bytes).toString('latin1')]),
            ),
          };
          expect(await read(await device(entries, options))).toEqual(expected);
          const hasPairs = Object.keys(files).some((one) => /[\ud800-\udfff]/.test(one));
          if (!hasPairs) expect(extracted(written)).toEqual(expected);
          rmSync(written);
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** The files of which no path is a folder of another one, and that FAT can tell apart. */
function compatible(files: Record<string, Uint8Array>): Record<string, Uint8Array> {
  const names = new Map<string, string>();
  const kept = new Set<string>();
  for (const path of Object.keys(files)) {
    const prefixes = path.split('/').map((_, depth, parts) => parts.slice(0, depth + 1).join('/'));
    const isFree = prefixes.every((prefix) => !kept.has(prefix) && (names.get(fold(prefix)) ?? prefix) === prefix);
    if (!isFree || names.has(fold(path))) continue;
    for (const prefix of prefixes) names.set(fold(prefix), prefix);
    kept.add(path);
  }
  return Object.fromEntries([...kept].map((path) => [path, files[path] ?? Buffer.alloc(0)]));
}

const REFUSED: readonly [Entry, string][] = [
  [file('a/b?c', ''), '"a/b?c": the name "b?c" has a control character or one of'],
  [file('a\u0001', ''), 'has a control character'],
  [file('a\\b', ''), 'has a control character or one of'],
  [file('end.', ''), 'ends with a dot or a space: rename it'],
  [file('end /x', ''), 'the name "end " ends with a dot or a space'],
  [file('a/../b', ''), 'the name ".." is no name'],
  [file('a//b', ''), 'the name "" is no name'],
  [file('x'.repeat(256), ''), 'is longer than 255 UTF-16 units'],
  [file('😀'.repeat(128), ''), 'is longer than 255 UTF-16 units'],
  [file('\ud83d', ''), 'has half of a surrogate pair'],
  [file(`${'d/'.repeat(256)}x`, ''), 'more than 256 folders within each other'],
  [symlink('link', 'target'), '"link": FAT has no symbolic links: put a copy of the target there'],
  [{ ...file('tty', ''), type: 'character-device' }, '"tty": FAT has no devices: leave it out'],
  [{ ...file('pipe', ''), type: 'fifo' }, '"pipe": FAT has no pipes: leave it out'],
  [{ ...file('huge', ''), size: 2 ** 32 }, '"huge": 4294967296 bytes, and a file on FAT has at most 4294967295'],
];

describe('a FAT volume', () => {
  it.each(kinds)('of %s bits is the same for any order of the entries', async (bits) => {
    const options = { size: bits === 32 ? 40 * MIB : KINDS[bits], bits, label: 'X' };
    const one = await bytesOf(TREE, options);
    expect((await bytesOf([...TREE].reverse(), options)).equals(one)).toBe(true);
    const many = Array.from({ length: 40 }, (_, index) => file(`some name ${index}`, `${index}`));
    const two = await bytesOf(many, options);
    expect((await bytesOf([...many].reverse(), options)).equals(two)).toBe(true);
    expect(two.equals(one)).toBe(false);
  });

  it('adds missing folders, and uses the last of two entries', async () => {
    const entries = [file('a/b/c', '1'), file('a/b/c', '22'), file('d', ''), directory('d'), file('d/e', 'e')];
    expect(await read(await device(entries, { size: MIB }))).toEqual({ a: '/', 'a/b': '/', 'a/b/c': '22', d: '/', 'd/e': 'e' }); // prettier-ignore
  });

  it('leaves files of this machine where they are', async () => {
    const folder = join(root, 'host');
    mkdirSync(folder);
    writeFileSync(join(folder, 'big'), '');
    truncateSync(join(folder, 'big'), 3 * GIB);
    writeFileSync(join(folder, 'small'), 'small');
    const { regions, places } = await fat(fromDirectory(folder), { size: 4 * GIB });
    const found = regions.filter(({ source }) => typeof source === 'object' && 'file' in source);
    expect(found).toEqual(
      ['big', 'small'].map((name) => ({
        ...places.get(name),
        source: { file: join(folder, name), mtime: statSync(join(folder, name)).mtimeMs, size: places.get(name)?.length, offset: 0 }, // prettier-ignore
      })),
    );
    const held = regions.reduce((sum, { source }) => sum + (source instanceof Uint8Array ? source.length : 0), 0);
    expect(held).toBeLessThan(8 * MIB); // the FATs
    await expect(fat(fromDirectory(folder), { size: 3 * GIB })).rejects.toThrow(
      /need 3221\d+ bytes .* volume of 3221225472 bytes has room for 321\d+: make it larger/,
    );
  });

  it.each(REFUSED)('refuses %j', async (entry, message) => {
    await expect(fat([entry], { size: 8 * GIB })).rejects.toThrow(message);
    await expect(fatSizeFor([entry])).rejects.toThrow(message);
  });

  it.each([
    [['Readme', 'README'], '"README": differs only in case from "Readme": rename one of them'],
    [['EFI/a', 'efi/b'], '"efi/b": differs only in case from "EFI"'],
    [['é', 'É'], '"É": differs only in case from "é"'],
    [['a', 'a/b'], '"a/b": a is no folder'],
    [['a/b', 'a'], '"a": was a folder with something in it before'],
    [['a', ''], '"": was a folder with something in it before'],
  ])('refuses the paths %j together', async (paths, message) => {
    await expect(fat(paths.map((path) => file(path, '')), { size: MIB })).rejects.toThrow(message); // prettier-ignore
  });

  it('refuses a folder with too many names', async () => {
    const names = Array.from({ length: 22_000 }, (_, index) => file(`d/a long file name ${index}`, ''));
    await expect(fat(names, { size: 64 * MIB })).rejects.toThrow('"d": 22000 names do not fit into one FAT folder');
  });

  it('refuses a file whose content does not have its size', async () => {
    await expect(fat([{ ...file('a', 'abc'), size: 2 }], { size: MIB })).rejects.toThrow('a: 3 bytes instead of 2');
  });

  it.each([
    [{ size: 1000 }, 'a FAT volume of 1000 bytes: a multiple of 512'],
    [{ size: 4 * 2 ** 40 }, 'a multiple of 512 up to 2199023255040'],
    [{ size: MIB, bits: 32 }, 'a volume of 1048576 bytes cannot be FAT32: choose another size'],
    [{ size: 64 * MIB, bits: 32, clusterSize: 4096 }, 'cannot be FAT32 with clusters of 4096 bytes'],
    [{ size: MIB, clusterSize: 3000 }, 'clusters of 3000 bytes: a power of two from 512 to 32768'],
    [{ size: MIB, clusterSize: 65536 }, 'clusters of 65536 bytes'],
    [{ size: MIB, serial: -1 }, 'serial -1: an integer of 32 bits'],
    [{ size: MIB, hiddenSectors: 2 ** 32 }, 'hiddenSectors 4294967296: an integer of 32 bits'],
    [{ size: MIB, label: 'twelve chars' }, 'the label "twelve chars": FAT takes 1 to 11 of'],
    [{ size: MIB, label: 'Größe' }, 'the label "Größe": FAT takes'],
    [{ size: MIB, label: 'a.b' }, 'the label "a.b": FAT takes'],
    [{ size: MIB, label: ' x' }, 'the label " x": FAT takes'],
  ] as [FatOptions, string][])('refuses %j', async (options, message) => {
    await expect(fat([], options)).rejects.toThrow(message);
  });
});

describe('the size for a tree', () => {
  it.each([
    [[], {}, MIB],
    [TREE, {}, MIB],
    [TREE, { free: 2 * MIB }, 3 * MIB],
    [[file('a', noise(3 * MIB))], {}, 4 * MIB],
    [[file('a', '')], { bits: 32 }, 33 * MIB],
    [[file('a', '')], { bits: 32, clusterSize: 4096 }, 257 * MIB],
  ] as const)('is the smallest multiple of 1 MiB', async (entries, options, size) => {
    expect(await fatSizeFor(entries, options)).toBe(size);
    await fat(entries, { ...options, size });
  });

  it('is enough, and 1 MiB less is not', async () => {
    const of = (count: number, size: number): Entry[] =>
      Array.from({ length: count }, (_, index) => ({ ...file(`file ${index}`, ''), size, host: { file: '/none', mtime: 0 } })); // prettier-ignore
    for (const entries of [of(4000, 5000), of(15_000, 20), of(300, 2 * MIB), of(9, GIB), of(40, GIB)]) {
      const size = await fatSizeFor(entries);
      await fat(entries, { size });
      await expect(fat(entries, { size: size - MIB })).rejects.toThrow('make it larger');
    }
  });

  it('does not exist if no volume of that kind is large enough', async () => {
    const huge = { ...file('a', ''), size: 200 * MIB, host: { file: '/none', mtime: 0 } };
    await expect(fatSizeFor([huge], { bits: 12 })).rejects.toThrow('no FAT12 volume has room for');
  });
});
