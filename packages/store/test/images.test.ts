/** Images: pushed, read, changed, and read again, against the same bytes in memory. */
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { file, memory, overlay, readOnly, writeImage, type BlockBackend } from '@nodeos/block';
import { describe, expect, test } from 'vitest';
import {
  commit,
  findImage,
  folderPlace,
  makeKeys,
  memoryPlace,
  openImage,
  push,
  unpackedBlocks,
  type Keys,
  type WritableImageStore,
} from '@nodeos/store';
import { contentsOf, flipped, imageOf, storeOf, temporary } from './helpers.js';

const BLOCK = 64 << 10;
const keysIn = async (): Promise<Keys> => makeKeys(join(await temporary(), 'key'));

async function readBack(store: WritableImageStore, name: string, keys?: Keys): Promise<BlockBackend> {
  return openImage(await findImage(store, name, keys?.tenant), store.chunks);
}

describe.each(['memory', 'folder'])('a store in a %s', (kind) => {
  const made = async (): Promise<WritableImageStore> =>
    storeOf(kind === 'memory' ? memoryPlace() : folderPlace(await temporary()));

  test.each(['zstd', 'zstd-fast', 'none'] as const)(
    'an image comes back, with %s, encrypted and not',
    async (codec) => {
      const store = await made();
      const device = await imageOf(5 * BLOCK + 1234, 1);
      for (const keys of [undefined, await keysIn()]) {
        await push(device, store, 'a', { codec, keys, blockSize: BLOCK });
        const back = await readBack(store, 'a', keys);
        expect((await contentsOf(back)).equals(await contentsOf(device))).toBe(true);
      }
    },
  );

  test('the second push stores nothing, and an image that shares blocks stores the others', async () => {
    const store = await made();
    const keys = await keysIn();
    const device = await imageOf(8 * BLOCK, 2);
    const first = await push(device, store, 'a', { keys, blockSize: BLOCK });
    expect(first.newChunks).toBe(first.chunks);
    expect(await push(device, store, 'b', { keys, blockSize: BLOCK })).toMatchObject({ newChunks: 0, id: first.id });
    await device.write?.(Buffer.from('changed'), 3 * BLOCK + 5);
    expect(await push(device, store, 'a', { keys, blockSize: BLOCK })).toMatchObject({ newChunks: 1 });
    expect((await contentsOf(await readBack(store, 'a', keys))).equals(await contentsOf(device))).toBe(true);
  });

  test('an encrypted image needs its key, and one whose chunk is lost or changed gives no wrong bytes', async () => {
    const place = kind === 'memory' ? memoryPlace() : folderPlace(await temporary());
    const store = storeOf(place);
    const keys = await keysIn();
    const pushed = await push(await imageOf(4 * BLOCK, 3), store, 'a', { keys, blockSize: BLOCK });
    await expect(findImage(store, 'a', undefined)).rejects.toThrow(/there is no key/);
    await expect(findImage(store, 'a', (await keysIn()).tenant)).rejects.toThrow(/not there for this tenant/);
    await expect(findImage(store, 'other', keys.tenant)).rejects.toThrow(/has no image "other"/);
    const [{ id, index } = { id: '', index: 0 }] = pushed.recipe.records;
    const path = `chunks/${id.slice(0, 2)}/${id}`;
    await place.put(path, flipped((await place.get(path, 1 << 20)) ?? Buffer.alloc(0), 7));
    const read = async (): Promise<void> => (await readBack(store, 'a', keys)).read(Buffer.alloc(10), index * BLOCK);
    await expect(read()).rejects.toThrow(/is not what its id says/);
    await place.delete(path);
    await expect(read()).rejects.toThrow(/is missing/);
  });
});

test('a disk that qemu-img made comes back, and qemu-img finds no difference', async () => {
  const folder = await temporary();
  const [image, back] = [join(folder, 'a.img'), join(folder, 'back.img')];
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', join(import.meta.dirname, '..'), image, '32M']);
  const device = await file(image, { readOnly: true });
  const store = storeOf(folderPlace(join(folder, 'store')));
  await push(device, store, 'a', { filesystem: 'ext4' });
  await writeImage(await readBack(store, 'a'), back);
  execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, back]);
  execFileSync('e2fsck', ['-fn', back], { stdio: 'pipe' });
  await device.close();
});

test('reads of any range give what was pushed', async () => {
  const store = storeOf(memoryPlace());
  const device = await imageOf(9 * BLOCK + 77, 4);
  const bytes = await contentsOf(device);
  await push(device, store, 'a', { blockSize: BLOCK });
  const image = await findImage(store, 'a', undefined);
  const back = await openImage(image, store.chunks, { blocks: unpackedBlocks(2 * BLOCK), requests: 2 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(bytes.length), fc.nat(3 * BLOCK)), { minLength: 1, maxLength: 8 }),
      async (ranges) => {
        const work = ranges.map(async ([offset, length]) => {
          const into = Buffer.alloc(Math.min(length, bytes.length - offset));
          await back.read(into, offset);
          expect(into.equals(bytes.subarray(offset, offset + into.length))).toBe(true);
        });
        await Promise.all(work);
      },
    ),
  );
  for (const { offset, length, zero } of (await back.extents?.(0, back.size)) ?? [])
    if (zero) expect(bytes.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
});

test('a chunk that many wait for is fetched once, and no more at a time than allowed', async () => {
  const store = storeOf(memoryPlace());
  await push(await imageOf(12 * BLOCK, 5), store, 'a', { blockSize: BLOCK });
  let [now, most, total] = [0, 0, 0];
  const slow = {
    ...store.chunks,
    get: async (id: string) => {
      most = Math.max(most, ++now);
      total++;
      await new Promise((resolve) => setTimeout(resolve, 2));
      now--;
      return store.chunks.get(id);
    },
  };
  const image = await findImage(store, 'a', undefined);
  const back = await openImage(image, slow, { requests: 3 });
  await Promise.all(Array.from({ length: 20 }, () => contentsOf(back)));
  expect([most, total]).toEqual([3, image.recipe.records.length]);
});

test('a start is recorded in the order of its first reads', async () => {
  const store = storeOf(memoryPlace());
  await push(memory(0), store, 'empty');
  expect((await readBack(store, 'empty')).size).toBe(0);
  await push(await imageOf(6 * BLOCK, 8), store, 'a', { blockSize: BLOCK });
  const seen: number[] = [];
  const image = await findImage(store, 'a', undefined);
  const back = await openImage(image, store.chunks, { onFirst: (index) => seen.push(index) });
  for (const index of [4, 1, 4, 2]) await back.read(Buffer.alloc(1), index * BLOCK);
  const known = new Set(image.recipe.records.map(({ index }) => index));
  expect(seen).toEqual([4, 1, 2].filter((index) => known.has(index)));
});

test('changes over an image become a new one, of which only what changed is stored', async () => {
  const folder = await temporary();
  const store = storeOf(folderPlace(join(folder, 'store')));
  const keys = await keysIn();
  const device = await imageOf(20 * BLOCK + 100, 6);
  await push(device, store, 'a', { keys, blockSize: BLOCK });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(device.size - 1), fc.uint8Array({ minLength: 1, maxLength: 9000 })), { maxLength: 6 }),
      fc.nat(1_000_000),
      async (writes, number) => {
        const image = await findImage(store, 'a', keys.tenant);
        const path = join(folder, `changes-${number}-${Math.random()}`);
        const over = await overlay(readOnly(await openImage(image, store.chunks)), path, { identity: image.id });
        const model = memory(device.size);
        await model.write?.(await contentsOf(device), 0);
        const touched = new Set<number>();
        for (const [offset, bytes] of writes) {
          const part = bytes.subarray(0, device.size - offset);
          await over.write?.(part, offset);
          await model.write?.(part, offset);
          for (let at = offset; at < offset + part.length; at++) touched.add(Math.floor(at / BLOCK));
        }
        await over.flush?.();
        await over.close();
        const base = await openImage(image, store.chunks);
        const done = await commit({ image, device: base, path }, store, 'b', { keys });
        expect(done.changedBlocks).toBeLessThanOrEqual(touched.size);
        const [x, y] = [await contentsOf(await readBack(store, 'b', keys)), await contentsOf(model)];
        expect(x.equals(y)).toBe(true);
      },
    ),
    { numRuns: 25 },
  );
});
