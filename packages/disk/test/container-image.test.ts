/** Container images as disks. */
import { mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readImage } from '@nodeos/fs';
import { BlobCache, openImage } from '@nodeos/oci';
import type { Entry } from '@nodeos/tree';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { layoutOf, tarOf } from '../../oci/test/images.js';
import { listingOfTree, type Listing } from '../../oci/test/judges.js';
import { openExports, openSource } from '../index.js';

const LAYERS = [
  tarOf([
    { path: 'etc/' },
    { path: 'etc/gone', content: 'gone' },
    { path: 'etc/big', content: 'big'.repeat(100_000), mtime: 5, uid: 70_000 },
    { path: 'etc/same', kind: '1', link: 'etc/big' },
  ]),
  tarOf([{ path: 'etc/.wh.gone' }, { path: 'new', content: 'new', mode: 0o4755 }]),
];

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nodeos-container-'));
  vi.stubEnv('NODEOS_CACHE', join(folder, 'cache'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });
});

/** What the layers make together, read without a disk. */
async function merged(name: string): Promise<Listing> {
  const cache = new BlobCache(join(folder, 'other'));
  const image = await openImage(name, { cache, signal: new AbortController().signal });
  const tree = await image.tree();
  return listingOfTree(tree.entries()).finally(() => tree.close());
}

it('an image is a disk with all of its files, which is made once', async () => {
  const layout = await layoutOf(join(folder, 'layout'), LAYERS);
  const name = `oci:${layout}:latest`;
  const { '': root, ...expected } = await merged(name);
  expect(root).toMatch(/^directory/);
  const seen: number[][] = [];
  for (const turn of [1, 2]) {
    const disk = await openSource(name, { progress: (...numbers) => seen.push(numbers) });
    const entries: Entry[] = [];
    for await (const entry of (await readImage(disk)).entries()) entries.push(entry);
    expect(await listingOfTree(entries), `turn ${turn}`).toEqual(expected);
    await disk.close();
    // Only the manifest and the configuration are needed again.
    if (turn === 1) await rm(join(folder, 'cache/images/unpacked'), { recursive: true });
  }
  expect(Object.keys(expected)).toContain('etc/same');
  const [done, size] = seen.at(-1) ?? [];
  expect(done).toBe(size);
});

it('an image is an export of a server, which says what it fetches', async () => {
  const source = `oci:${await layoutOf(join(folder, 'layout'), LAYERS)}:latest`;
  const seen: number[][] = [];
  const exports = await openExports({
    wanted: [{ name: 'image', source }],
    progress: (...numbers) => seen.push(numbers),
    signal: new AbortController().signal,
  });
  expect(exports.list).toMatchObject([{ name: 'image', source }]);
  await exports.close();
  const [done, size] = seen.at(-1) ?? [0];
  expect(done).toBe(size);
});

it('an image cannot be written, and one that is damaged leaves no disk', async () => {
  const layout = await layoutOf(join(folder, 'layout'), [...LAYERS, Buffer.from('no tar')]);
  const name = `oci:${layout}:latest`;
  await expect(openSource(name, { write: true })).rejects.toThrow(`${name}: cannot be written`);
  await expect(openSource(name)).rejects.toThrow(/layer sha256:\w+/);
  await expect(openSource(name)).rejects.toThrow(/layer sha256:\w+/);
  await expect(openSource('docker://UPPER')).rejects.toThrow('"library/UPPER" is no name');
});
