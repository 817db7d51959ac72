/** Reading EROFS images: our own, those of mkfs.erofs, and those in which bytes were changed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory, regions, type BlockBackend } from '@nodeos/block';
import { characterDevice, directory, file, symlink, type Entry } from '@nodeos/tree';
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

describe('the reader of EROFS', () => {
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
    const bytes = await bytesOf(TREE.slice(0, 30));
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

  it('says what is no filesystem', async () => {
    await expect(readImage(memory(65536))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(readImage(memory(0))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(readErofs(memory(65536))).rejects.toThrow('this is no EROFS image');
  });
});
