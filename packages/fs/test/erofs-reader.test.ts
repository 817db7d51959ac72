/** Reading EROFS images: our own, those of mkfs.erofs, and those in which bytes were changed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory, regions, type BlockBackend } from '@nodeos/block';
import { characterDevice, compareNames, directory, file, symlink, type Entry } from '@nodeos/tree';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { random } from '../../nbd/test/fuzz.js';
import { erofs, readErofs, readImage } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-erofs-reader-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 3000);

function deviceOf(bytes: Uint8Array): BlockBackend {
  const device = memory(bytes.length);
  void device.write?.(bytes, 0);
  return device;
}

async function bytesOf(entries: Iterable<Entry>, tails = true): Promise<Buffer> {
  const { regions: list, size } = await erofs(entries, { tails });
  const bytes = Buffer.alloc(size);
  await regions(list, { size }).read(bytes, 0);
  return bytes;
}

async function from(entry: Entry, offset: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of entry.open?.(offset) ?? []) parts.push(part);
  return Buffer.concat(parts);
}

/** What is in the image: each path with its type, mode and content. */
async function contentsOf(device: BlockBackend): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const entry of (await readErofs(device)).entries()) {
    const { path, type, mode, link, rdev } = entry;
    const parts: Uint8Array[] = [];
    for await (const part of entry.open?.() ?? []) parts.push(part);
    const whole = Buffer.concat(parts);
    for (const offset of [whole.length, whole.length >> 1, Math.min(whole.length, 4096)])
      expect((await from(entry, offset)).equals(whole.subarray(offset))).toBe(true); // toEqual is slow with bytes
    const content = link ?? rdev?.join(':') ?? whole.toString('latin1');
    found.set(path, `${type} ${mode.toString(8)} ${content}`);
  }
  return found;
}

const TREE = [
  directory('folder', 0o750),
  file('folder/file', 'content', 0o640),
  file('large', Buffer.alloc(20_000, 'large '), 0o755),
  symlink('link', 'folder/file'),
  characterDevice('null', 0o666, [1, 3]),
  ...Array.from({ length: 400 }, (_, index) => file(`many/a file with a rather long name ${index}`, `${index}`)),
];

/** What only some entries have. */
const FULL: readonly Entry[] = (() => {
  const shared: [string, Buffer] = ['user.shared', Buffer.alloc(300, 1)];
  const first: Entry = {
    ...{ ...file('b\udcff', 'linked', 0o600), mtime: -2, nanoseconds: 5, uid: 2 ** 32 - 2 },
    xattrs: new Map([shared, ['security.capability', Buffer.of(0, 255)]]),
  };
  const other: Entry = { ...file('c', 'other'), xattrs: new Map([shared, ['trusted.empty', Buffer.alloc(0)]]) };
  const folder: Entry = { ...directory('d'), xattrs: new Map([['system.posix_acl_default', Buffer.alloc(28, 2)]]) };
  const name = 'long '.repeat(9);
  const many = new Map(
    Array.from({ length: 270 }, (_, index) => [`user.${index}`, Buffer.from(`${name}${index}`)] as const),
  );
  return [
    first,
    other,
    folder,
    ...['much', 'more'].map((path) => ({ ...file(path, path), xattrs: many })),
    { ...first, path: 'z', hardLink: first.path },
    symlink('s', '\udc80'),
  ];
})();

describe('the reader of EROFS', () => {
  it.each([true, false])('reads hard links, attributes, bytes and times (tails: %s)', async (tails) => {
    const found: Entry[] = [];
    for await (const entry of (await readErofs(deviceOf(await bytesOf(FULL, tails)))).entries()) found.push(entry);
    const plain = ({ path, type, mode, uid, mtime, nanoseconds, size, link, hardLink, xattrs }: Entry): unknown => [
      ...[path, type, mode, uid, mtime, nanoseconds, size, link, hardLink],
      xattrs && Object.fromEntries([...xattrs].map(([name, value]) => [name, Buffer.from(value).toString('hex')])),
    ];
    const byPath = (a: Entry, b: Entry): number => (a.path < b.path ? -1 : 1);
    // The first name in the order of the image is the file, and the other one the link.
    const wanted = FULL.map((entry) => ({ ...entry }));
    const [first, last] = [wanted.find(({ path }) => path === 'b\udcff'), wanted.find(({ path }) => path === 'z')];
    expect(first && last && compareNames(first.path, last.path)).toBeLessThan(0);
    expect(found.sort(byPath).map(plain)).toEqual(wanted.sort(byPath).map(plain));
    const contents = await contentsOf(deviceOf(await bytesOf(FULL, tails)));
    expect(contents.get('z')).toBe('file 600 linked');
  });

  it.each([true, false])('reads what is written (tails: %s)', async (tails) => {
    const found = await contentsOf(deviceOf(await bytesOf(TREE, tails)));
    expect(found.get('folder')).toBe('directory 750 ');
    expect(found.get('folder/file')).toBe('file 640 content');
    expect(found.get('large')).toBe(`file 755 ${Buffer.alloc(20_000, 'large ').toString()}`);
    expect(found.get('link')).toBe('symlink 777 folder/file');
    expect(found.get('null')).toBe('character-device 666 1:3');
    expect(found.size).toBe(406);
    const paths = [...found.keys()];
    expect(paths.indexOf('many')).toBeLessThan(paths.indexOf('many/a file with a rather long name 7'));
  });

  it('reads any tree that is written', async () => {
    const name = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !/[/\0]|^\.\.?$/.test(text));
    const files = fc.dictionary(name, fc.uint8Array({ maxLength: 9000 }), { maxKeys: 12, noNullPrototype: false });
    await fc.assert(
      fc.asyncProperty(files, fc.boolean(), async (contents, tails) => {
        const entries = Object.entries(contents).map(([path, bytes]) => file(path, bytes));
        const found = await contentsOf(deviceOf(await bytesOf(entries, tails)));
        for (const [path, bytes] of Object.entries(contents))
          expect(found.get(path)).toBe(`file 644 ${Buffer.from(bytes).toString('latin1')}`);
      }),
    );
  });

  it.skipIf(spawnSync('mkfs.erofs', ['-V']).error !== undefined)('reads images of mkfs.erofs', async () => {
    const [from, image] = [join(root, 'tree'), join(root, 'made.erofs')];
    mkdirSync(join(from, 'folder'), { recursive: true });
    writeFileSync(join(from, 'folder/file'), 'content');
    chmodSync(join(from, 'folder/file'), 0o600);
    writeFileSync(join(from, 'large'), Buffer.alloc(100_000, 'large '));
    symlinkSync('large', join(from, 'link'));
    execFileSync('mkfs.erofs', [image, from], { stdio: 'pipe' });
    const found = await contentsOf(deviceOf(readFileSync(image)));
    expect(found.get('folder/file')).toBe('file 600 content');
    expect(found.get('large')).toBe(`file 644 ${Buffer.alloc(100_000, 'large ').toString()}`);
    expect(found.get('link')).toBe('symlink 777 large');
    expect((await readImage(deviceOf(readFileSync(image)))).format).toBe('erofs');
  });

  it('reads or refuses any bytes', { timeout: 24 * 3_600_000 }, async () => {
    const bytes = await bytesOf([...TREE.slice(0, 30), ...FULL]);
    const dice = random(11);
    let refused = 0;
    for (let input = 0; input < INPUTS; input++) {
      const damaged = Buffer.from(bytes);
      for (let changes = dice.int(4); changes >= 0; changes--)
        damaged.writeUInt8(dice.int(255), 1024 + dice.int(dice.percent(50) ? 300 : damaged.length - 1025));
      const device = deviceOf(dice.percent(5) ? damaged.subarray(0, dice.int(damaged.length - 1) + 1) : damaged);
      try {
        for (const path of (await contentsOf(device)).keys())
          expect(path).not.toMatch(/^$|^\/|\/$|\/\/|(^|\/)\.\.?(\/|$)|\0/);
      } catch (error) {
        expect(error).toMatchObject({ code: 'EINVAL' });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(INPUTS / 20);
  });

  it.each([true, false])('finds each file by its path, as it lists it (tails: %s)', async (tails) => {
    const image = await readErofs(deviceOf(await bytesOf(TREE, tails)));
    for await (const entry of image.entries()) {
      const found = await image.find(entry.path);
      expect({ ...found, open: undefined }).toEqual({ ...entry, open: undefined });
      if (found?.type === 'file') expect(await from(found, 0)).toEqual(await from(entry, 0));
    }
    expect(await image.find('')).toMatchObject({ path: '', type: 'directory' });
    for (const path of ['none', 'folder/none', 'folder/file/none', 'link/none', 'folder/', '.', '..'])
      expect([path, await image.find(path)]).toEqual([path, undefined]);
  });

  it('says what is no filesystem', async () => {
    await expect(readImage(memory(65536))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(readImage(memory(0))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(readErofs(memory(65536))).rejects.toThrow('this is no EROFS image');
  });
});
