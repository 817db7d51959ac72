/** The readers do not read what the device knows to be zero. */
import { mkdtempSync, rmSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { around, file, loadSparse, regions, writeImage, type BlockBackend } from '@nodeos/block';
import { fromDirectory, type Entry } from '@nodeos/tree';
import { afterAll, describe, expect, it } from 'vitest';
import { erofs, fat, iso, readImage, type Image } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-holes-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MIB = 1 << 20;
const SIZE = 3 * 2 ** 30 + 12_345;
const DATA = Buffer.alloc(40_000, 'data ');
const PLACES = [0, 2 ** 30 + 5, SIZE - DATA.length];
const hasHoles = (await loadSparse()) !== undefined;

const FORMATS: readonly [string, () => Promise<Image>][] = [
  ['EROFS', () => erofs(fromDirectory(root))],
  ['FAT', () => fat(fromDirectory(root), { size: 4 * 2 ** 30 })],
  ['ISO 9660', () => iso(fromDirectory(root), { label: 'HOLES' })],
];

async function entryOf(device: BlockBackend): Promise<Entry> {
  for await (const entry of (await readImage(device)).entries()) return entry;
  throw new Error('the image is empty');
}

describe.skipIf(!hasHoles)('a file of 3 GiB, of which 120 KB are data', () => {
  it.each(FORMATS)('is read from %s without its holes', async (_, describeImage) => {
    const path = join(root, 'large');
    const handle = await open(path, 'w');
    await handle.truncate(SIZE);
    for (const at of PLACES) await handle.write(DATA, 0, DATA.length, at);
    await handle.close();
    const image = `${root}.img`;
    const { regions: list, size } = await describeImage();
    const device = regions(list, { size });
    await writeImage(device, image).finally(() => device.close());
    let read = 0;
    const inner = await file(image, { readOnly: true });
    const watched = around(inner, (operation, _offset, length, work) => {
      if (operation === 'read') read += length;
      return work();
    });
    const entry = await entryOf(watched);
    expect(entry).toMatchObject({ path: 'large', size: SIZE });
    let at = 0;
    for await (const bytes of entry.open?.() ?? []) {
      expect(bytes.length).toBeLessThanOrEqual(MIB);
      for (const start of PLACES) {
        const [from, to] = [Math.max(start, at), Math.min(start + DATA.length, at + bytes.length)];
        if (from >= to) continue;
        expect(Buffer.compare(bytes.subarray(from - at, to - at), DATA.subarray(from - start, to - start))).toBe(0);
      }
      at += bytes.length;
    }
    expect(at).toBe(SIZE);
    expect(read).toBeLessThan(8 * MIB);
    await inner.close();
    expect((await stat(image)).blocks * 512).toBeLessThan(16 * MIB);
    rmSync(image);
    rmSync(path);
  });
});
