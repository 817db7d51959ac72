/** ISO 9660 images, judged by xorriso, isoinfo and, where it may, the kernel. */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { regions, writeImage } from '@nodeos/block';
import { characterDevice, directory, file, fromDirectory, symlink, type Entry } from '@nodeos/tree';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { readIso } from '../iso-reader.js';
import { iso } from '../iso.js';
import { extracted, imageBytes, imageDevice, imageFile, judge, lackingOf, listingOf, listingOfTree } from './iso-support.js'; // prettier-ignore

const root = mkdtempSync(join(tmpdir(), 'nodeos-iso-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const { lacking, notHere } = lackingOf('xorriso', 'isoinfo');
const MIB = 1 << 20;
const SECTOR = 2048;

let images = 0;
const fresh = (): string => join(root, `${images++}.iso`);

const TREE: readonly Entry[] = [
  directory('bin', 0o750),
  file('bin/node', 'N'.repeat(10_000), 0o755),
  file('empty', ''),
  file('Ünï cødé, longer than any name of the primary volume.text', 'ü'),
  file('x'.repeat(255), 'a continued name'),
  symlink('lib', 'usr/lib'),
  symlink('absolute', `/${'long/'.repeat(100)}../${'l'.repeat(255)}`),
  directory('tmp', 0o1777),
  file(`${'deep/'.repeat(20)}file`, 'deep'),
];

const LISTING = {
  bin: '750/',
  'bin/node': `755 ${'N'.repeat(10_000)}`,
  empty: '644 ',
  'Ünï cødé, longer than any name of the primary volume.text': `644 ${Buffer.from('ü').toString('latin1')}`,
  ['x'.repeat(255)]: '644 a continued name',
  lib: '-> usr/lib',
  absolute: `-> /${'long/'.repeat(100)}../${'l'.repeat(255)}`,
  tmp: '1777/',
  ...Object.fromEntries(Array.from({ length: 20 }, (_, n) => ['deep/'.repeat(n + 1).slice(0, -1), '755/'])),
  [`${'deep/'.repeat(20)}file`]: '644 deep',
};

/** Whether the kernel of this machine mounts files with ISO 9660. */
const mounts = process.getuid?.() === 0 && /\biso9660$/m.test(kernelFilesystems());

function kernelFilesystems(): string {
  try {
    return readFileSync('/proc/filesystems', 'utf8');
  } catch {
    return ''; // not Linux
  }
}

describe.skipIf(lacking.length > 0)(`an ISO 9660 image${notHere}`, () => {
  it('holds files, folders and links', async () => {
    expect(extracted(await imageFile(fresh(), TREE))).toEqual(LISTING);
  });

  it.skipIf(!mounts)(`is mounted by the kernel${mounts ? '' : ' (not here)'}`, async () => {
    const [path, at] = [await imageFile(fresh(), TREE), join(root, 'mounted')];
    mkdirSync(at);
    execFileSync('mount', ['-o', 'loop,ro', path, at]);
    const found = listingOf(at);
    execFileSync('umount', ['-l', at]); // whoever looks at all mounts may be in it
    // Linux cuts the longest names.
    const listing = Object.entries(LISTING).map(([name, text]) => [name.slice(0, 250), text]);
    expect(found).toEqual(Object.fromEntries(listing));
  });

  it('of an empty tree is an empty folder', async () => {
    expect(extracted(await imageFile(fresh(), []))).toEqual({});
  });

  it('keeps owners, times, modes and devices', async () => {
    const owned: Entry = { ...file('owned', 'x', 0o4711), uid: 300, gid: 200, mtime: 1_700_000_000.5 };
    const devices = [characterDevice('small', 0o600, [5, 1]), characterDevice('large', 0o600, [259, 300])];
    const path = await imageFile(fresh(), [owned, ...devices]);
    const told = judge('isoinfo', '-R', '-l', '-i', path);
    // isoinfo has owners in octal digits.
    expect(told).toMatch(/-rwx--x--x +1 +454 +310 +1 Nov 14 2023 .* owned/);
    expect(told).toMatch(/crw-------.* small/);
    const listed = judge('xorriso', '-indev', path, '-lsl', '/small');
    expect(listed).toMatch(/crw------- .*5,1.*'\/small'/);
    expect(listed).not.toContain('large');
  });

  it('has unique names in all of its volumes', async () => {
    const names = ['a', 'A', 'a.b', 'a_b', 'ä', 'ö', '.hidden', 'n'.repeat(100), `${'n'.repeat(100)}1`, 'x*y', 'x?y'];
    const texts = [...names, `${'t'.repeat(90)}.text`, `${'t'.repeat(91)}.text`];
    const path = await imageFile(fresh(), [...texts.map((name) => file(name, name)), directory('a.dir')]);
    const lines = (...args: string[]): string[] =>
      judge('isoinfo', ...args, '-f', '-i', path)
        .trim()
        .split('\n');
    expect(lines('-R').sort()).toEqual(
      [...texts, 'a.dir'].map((name) => `/${Buffer.from(name).toString('latin1')}`).sort(),
    );
    const t = 'T'.repeat(26);
    expect(lines()).toEqual(['/A.;1', '/A.B;1', '/A1.;1', '/A_B.;1', '/A_DIR', `/${'N'.repeat(30)}.;1`, `/${'N'.repeat(29)}1.;1`, `/${t}.TEXT;1`, `/${t.slice(1)}1.TEXT;1`, '/X_Y.;1', '/X_Y1.;1', '/_.;1', '/_1.;1', '/_HIDDEN.;1'].sort()); // prettier-ignore
    const joliet = lines('-J', '-j', 'iso8859-1').map((name) => name.slice(1).replace(/;1$/, ''));
    expect(joliet).toHaveLength(texts.length + 1);
    expect(new Set(joliet).size).toBe(joliet.length);
    expect(joliet).toEqual(expect.arrayContaining(['a', 'A', 'ä', 'x_y', 'x_y1', `${'t'.repeat(59)}.text`, `${'t'.repeat(58)}1.text`, 'n'.repeat(64), `${'n'.repeat(63)}1`])); // prettier-ignore
  });

  it('has folders of many sectors and many names', async () => {
    const names = Array.from({ length: 600 }, (_, index) => `${'é'.repeat(index % 120)}${index}`);
    const path = await imageFile(fresh(), [...names.map((name) => file(`many/${name}`, name)), ...names.map((name) => directory(`folders/${name}`))]); // prettier-ignore
    const found = extracted(path);
    expect(Object.keys(found)).toHaveLength(2 + 2 * names.length);
    for (const name of names) expect(found[`many/${name}`]).toBe(`644 ${Buffer.from(name).toString('latin1')}`);
    for (const flags of [[], ['-J']])
      expect(
        judge('isoinfo', ...flags, '-f', '-i', path)
          .trim()
          .split('\n'),
      ).toHaveLength(2 + 2 * names.length);
  });

  it('has a path table in both byte orders', async () => {
    const path = await imageFile(fresh(), TREE);
    const bytes = readFileSync(path);
    const [size, little, big] = [bytes.readUInt32LE(0x8084), bytes.readUInt32LE(0x808c), bytes.readUInt32BE(0x8094)];
    for (let at = 0; at < size; at += 8 + roundUp(bytes.readUInt8(little * SECTOR + at), 2)) {
      const [one, other] = [little * SECTOR + at, big * SECTOR + at];
      expect(bytes.readUInt32LE(one + 2)).toBe(bytes.readUInt32BE(other + 2));
      expect(bytes.readUInt16LE(one + 6)).toBe(bytes.readUInt16BE(other + 6));
    }
    expect(judge('isoinfo', '-p', '-i', path)).toMatch(/1: +1 \w+ *\n +2: +1 \w+ BIN\n +3: +1 \w+ DEEP\n +4: +1 \w+ TMP\n +5: +3 \w+ DEEP/); // prettier-ignore
  });

  it.each([
    ['BIOS and EFI', { bios: { offset: MIB, length: 3000 }, efi: { offset: MIB + 4096, length: 65_536 } }, ['BIOS y none 0x0000 0x00 6 512', 'UEFI y none 0x0000 0x00 128 514']], // prettier-ignore
    ['the BIOS', { bios: { offset: MIB, length: 2048 } }, ['BIOS y none 0x0000 0x00 4 512']],
    ['EFI', { efi: { offset: MIB, length: 65_536 } }, ['UEFI y none 0x0000 0x00 128 512']],
    ['EFI, from a large partition', { efi: { offset: MIB, length: 40 * MIB } }, ['UEFI y none 0x0000 0x00 0 512']],
  ])('boots from %s', async (_, boot, expected) => {
    const path = await imageFile(fresh(), [file('a', 'a')], { boot, size: 42 * MIB });
    const told = judge('xorriso', '-indev', path, '-report_el_torito', 'plain', '-report_system_area', 'plain');
    const found = [...told.matchAll(/^El Torito boot img : +\d+ +(.*)$/gm)].map(([, line]) =>
      line?.replace(/ +/g, ' '),
    );
    expect(found).toEqual(expected);
    expect(judge('isoinfo', '-d', '-i', path)).toMatch(
      /Volume id: TEST\n(.*\n)*Volume size is: 21504\n(.*\n)*.*Key 55 AA/,
    );
  });

  it('points at files that are elsewhere in the image', async () => {
    const other = Buffer.from(Uint8Array.from({ length: 100_000 }, (_, index) => index * 7 + (index >> 8)));
    const places = new Map([['sub/kernel', { offset: MIB + 2 * SECTOR, length: 50_001 }]]);
    const kernel: Entry = { ...file('sub/kernel', ''), size: 50_001 };
    const image = await iso([kernel, file('own', 'own')], { label: 'HYBRID', places, contentAt: 2 * MIB, limit: MIB, size: 3 * MIB }); // prettier-ignore
    expect(image.places).toEqual(new Map([...places, ['own', { offset: 2 * MIB, length: 3 }]]));
    expect(image.regions).toHaveLength(2);
    expect(image.regions.every(({ offset = 0 }) => offset >= 32_768)).toBe(true);
    const disk = regions([...image.regions, { offset: MIB, length: other.length, source: other }], {
      size: image.size,
    });
    const expected = {
      sub: '755/',
      'sub/kernel': `644 ${other.subarray(4096, 54_097).toString('latin1')}`,
      own: '644 own',
    };
    expect(await listingOfTree((await readIso(disk)).entries())).toEqual(expected);
    const path = fresh();
    await writeImage(disk, path);
    expect(extracted(path)).toEqual(expected);
  });

  it('has files of 4 GiB and more', async () => {
    const size = 5 * 2 ** 30 + 1;
    const places = new Map([['large', { offset: MIB, length: size }]]);
    const image = await iso([{ ...file('large', ''), size }, file('z', 'z')], { label: 'L', places, limit: MIB });
    const path = fresh();
    const handle = openSync(path, 'w');
    ftruncateSync(handle, image.size);
    for (const { offset = 0, source } of image.regions) writeSync(handle, source as Uint8Array, 0, null, offset);
    closeSync(handle);
    expect(judge('xorriso', '-indev', path, '-lsl', '/')).toMatch(new RegExp(` ${size} .*'large'`));
    for await (const entry of (await readIso(regions(image.regions, { size: image.size }))).entries())
      expect(entry.size).toBe(entry.path === 'large' ? size : 1);
  });

  it('returns any content unchanged', { timeout: 120_000 }, async () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .map((text) => text.replace(/[/\0]/g, '_'))
      .filter((text) => text !== '.' && text !== '..');
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 2040, max: 2050 }).map((n) => Buffer.alloc(n, 1)),
    );
    const target = fc.array(fc.oneof(name, fc.constantFrom('.', '..')), { minLength: 1, maxLength: 40 });
    const link = fc.tuple(fc.constantFrom('', '/'), target).map(([slash, parts]) => slash + parts.join('/'));
    const files = fc.dictionary(path, fc.oneof(content, link), { maxKeys: 30 });
    const property = fc.asyncProperty(files, async (all) => {
      // A path that is a folder of another one cannot be a file.
      const paths = Object.keys(all).filter((one) => !Object.keys(all).some((two) => two.startsWith(`${one}/`)));
      const tree = paths.map((one) => {
        const what = all[one] ?? '';
        return typeof what === 'string' ? symlink(one, what) : file(one, what);
      });
      const device = await imageDevice(tree);
      const found = await listingOfTree((await readIso(device)).entries());
      const path = fresh();
      await writeImage(device, path);
      expect(extracted(path)).toEqual(found);
      const contents = Object.entries(found).filter(([, text]) => !/^\d+\/$/.test(text));
      const expected = paths.map((one) => {
        const what = all[one] ?? '';
        return [one, typeof what === 'string' ? `-> ${what}` : `644 ${what.toString('latin1')}`];
      });
      expect(Object.fromEntries(contents)).toEqual(Object.fromEntries(expected));
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

describe('an ISO 9660 image', () => {
  it('is the same for any order of the entries', async () => {
    const names = ['ä', 'ö', 'ü', 'A', 'a', 'a.b/c', 'x'.repeat(70), `${'x'.repeat(70)}y`];
    const entries = [...TREE, ...names.map((name) => file(name, name))];
    const one = await imageBytes(entries);
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(entries, { minLength: entries.length }), async (shuffled) => {
        expect((await imageBytes(shuffled)).equals(one)).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it('adds missing folders, and uses the last of two entries', async () => {
    const entries = [file('a/b/c', '1'), file('a/b/c', '2'), directory('a', 0o700)];
    const found = await listingOfTree((await readIso(await imageDevice(entries))).entries());
    expect(found).toEqual({ a: '700/', 'a/b': '755/', 'a/b/c': '644 2' });
  });

  it('leaves the first 32 KiB free, and has dates from 1980 on', async () => {
    const bytes = await imageBytes(TREE);
    expect(bytes.subarray(0, 32_768).every((byte) => byte === 0)).toBe(true);
    expect(bytes.toString('latin1', 32_768 + 813, 32_768 + 829)).toBe('1980010100000000');
    const later = await imageBytes(TREE, { time: 1_700_000_000 });
    expect(later.toString('latin1', 32_768 + 813, 32_768 + 829)).toBe('2023111422132000');
  });

  it('describes files of this machine without reading them', async () => {
    const folder = join(root, 'host');
    mkdirSync(folder);
    for (let index = 0; index < 400; index++) {
      const handle = openSync(join(folder, `file-${index}`), 'w');
      ftruncateSync(handle, MIB);
      closeSync(handle);
    }
    const entries: Entry[] = [];
    const open = (): never => {
      throw new Error('it was opened');
    };
    for await (const entry of fromDirectory(folder)) entries.push(entry.type === 'file' ? { ...entry, open } : entry);
    const image = await iso(entries, { label: 'HOST' });
    expect(image.size).toBeGreaterThan(400 * MIB);
    expect(image.regions.filter(({ source }) => typeof source === 'object' && 'file' in source)).toHaveLength(400);
  });

  it.each([
    ['a/../b', 'no room for the name ".."'],
    ['a//b', 'no room for the name ""'],
    ['x'.repeat(256), 'no room for the name'],
    ['a\0', 'no room for the name'],
    ['a\ud800', 'no room for the name'],
  ])('refuses the path %j', async (path, message) => {
    await expect(imageBytes([file(path, '')])).rejects.toThrow(message);
  });

  const A = file('a', 'a');
  it.each<[string, Entry[], object, string]>([
    ['an entry below a file', [A, file('a/b', '')], {}, 'a/b: a is no folder'],
    ['a file in place of a folder', [file('a/b', ''), A], {}, 'a: was a folder with something in it before'],
    ['a content that is longer', [{ ...file('a', 'abc'), size: 2 }], {}, 'a: 3 bytes instead of 2'],
    ['a content that is shorter', [{ ...file('a', 'abc'), size: 4 }], {}, 'a: 3 bytes instead of 4'],
    ['an empty link', [symlink('a', '')], {}, 'a: a link to ""'],
    ['a time too late', [{ ...A, mtime: 6e9 }], {}, 'a: ISO 9660 has times from 1900 to 2155'],
    ['an empty label', [A], { label: '' }, '1 to 32 characters'],
    ['a long label', [A], { label: 'l'.repeat(33) }, '1 to 32 characters'],
    ['contents between sectors', [A], { contentAt: MIB + 512 }, 'no multiple of 2048'],
    [
      'a limit that is too low',
      [A],
      { limit: 40_960 },
      'descriptors and folders need 53248 bytes, and there are 40960',
    ],
    ['contents on the folders', [A], { contentAt: 40_960 }, 'need 53248 bytes, and there are 40960'],
    ['a size that is too low', [A], { size: MIB, contentAt: MIB }, 'whose contents end at byte 1050624'],
    ['a size that is too high', [A], { size: 2 ** 44 }, 'ISO 9660 has room for'],
    [
      'a place between sectors',
      [A],
      { places: new Map([['a', { offset: MIB + 1, length: 1 }]]) },
      'no multiple of 2048',
    ],
    ['a place of another length', [A], { places: new Map([['a', { offset: MIB, length: 2 }]]) }, 'a place of 2 bytes'],
    ['a place on the folders', [A], { places: new Map([['a', { offset: 34_816, length: 1 }]]) }, 'a: bytes 32768 to'],
    ['a boot image between sectors', [A], { boot: { efi: { offset: 512, length: 512 } } }, 'no multiple of 2048'],
    ['a boot image for the BIOS that is too large', [A], { boot: { bios: { offset: MIB, length: 2 ** 25 } } }, 'a BIOS cannot load'], // prettier-ignore
  ])('refuses %s', async (_, entries, options, message) => {
    const failed = imageBytes(entries, options);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toBeInstanceOf(RangeError);
  });
});
