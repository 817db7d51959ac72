/** Several images in one reader: what they share is unpacked once, kept within one bound, and asked of the store once. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { afterEach, describe, expect, test } from 'vitest';
import {
  decodeRecipe,
  encodeRecipe,
  folderPlace,
  makeKeys,
  memoryPlace,
  push,
  recentlyUsed,
  storeReader,
  type StoreReader,
  type Tier,
} from '@nodeos/store';
import { contentsOf, imageOf, storeOf, temporary } from './helpers.js';

const BLOCK = 64 << 10;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function reading(options: Parameters<typeof storeReader>[0] = {}): Promise<StoreReader> {
  const reader = await storeReader(options);
  closers.push(() => reader.close());
  return reader;
}

describe('values that were used last', () => {
  test('they stay within the bound, but for the newest', () => {
    const kept = recentlyUsed<string, number>(10, (bytes) => bytes);
    kept.keep('a', 4);
    kept.keep('b', 4);
    expect(kept.get('a')).toBe(4);
    kept.keep('c', 4);
    expect(['a', 'b', 'c'].filter((key) => kept.has(key))).toEqual(['a', 'c']);
    kept.keep('c', 5);
    expect(kept.has('a')).toBe(true);
    kept.keep('large', 50);
    expect(['a', 'b', 'c', 'large'].filter((key) => kept.has(key))).toEqual(['large']);
  });
});

describe('two versions of an image', () => {
  test('a block that both have is unpacked once', async () => {
    const place = await temporary();
    const store = storeOf(folderPlace(place));
    const device = await imageOf(20 * BLOCK, 21);
    const first = await push(device, store, 'a', { blockSize: BLOCK });
    await device.write?.(Buffer.from('changed'), 3 * BLOCK + 5);
    const second = await push(device, store, 'b', { blockSize: BLOCK });
    const reader = await reading();
    for (const name of ['a', 'b']) await contentsOf((await reader.open(`${place}:${name}`)).device);
    const distinct = new Set([...first.recipe.records, ...second.recipe.records].map(({ id }) => id));
    expect(reader.stats.blocks).toBe(distinct.size);
    expect(distinct.size).toBeLessThan(first.chunks + second.chunks);
  });

  test('the bound for unpacked blocks is that of all images together', async () => {
    const place = await temporary();
    const store = storeOf(folderPlace(place));
    const [a, b] = [await imageOf(20 * BLOCK, 22), await imageOf(20 * BLOCK, 23)];
    await push(a, store, 'a', { blockSize: BLOCK });
    await push(b, store, 'b', { blockSize: BLOCK });
    const reader = await reading({ memory: 4 * BLOCK });
    const [one, other] = [await reader.open(`${place}:a`), await reader.open(`${place}:b`)];
    await contentsOf(one.device);
    await contentsOf(other.device);
    const before = reader.stats.blocks;
    await contentsOf(one.device);
    expect(reader.stats.blocks).toBeGreaterThan(before); // the other image has taken the room
  });

  test('an image that names the chunks of an encrypted one does not get their bytes', async () => {
    const folder = await temporary();
    const keys = await makeKeys(join(folder, 'key'));
    const place = folderPlace(join(folder, 'store'));
    const store = storeOf(place);
    const secret = memory(BLOCK);
    await secret.write?.(Buffer.alloc(1000, 'secret'), 0);
    await push(secret, store, 'theirs', { keys, blockSize: BLOCK });
    const bytes = (await store.recipe('theirs')) ?? Buffer.alloc(0);
    await place.put('recipes/mine', encodeRecipe({ ...decodeRecipe(bytes, 'theirs'), cipher: 'none' }));
    const reader = await reading({ tenant: keys.tenant });
    const theirs = await reader.open(`${join(folder, 'store')}:theirs`);
    const mine = await reader.open(`${join(folder, 'store')}:mine`);
    expect((await contentsOf(theirs.device)).toString('latin1')).toContain('secret');
    await expect(contentsOf(mine.device)).rejects.toThrow(/no frame of zstd/);
  });
});

test('what is read here and what other hosts ask for at the same time is asked of the store once', async () => {
  const place = memoryPlace();
  const store = storeOf(place);
  const device = await imageOf(30 * BLOCK, 24);
  const { recipe } = await push(device, store, 'a', { blockSize: BLOCK });
  const asked: string[] = [];
  const server = createServer((request, answer) => {
    const path = (request.url ?? '').slice(1);
    if (path.startsWith('chunks/')) asked.push(path);
    void place.get(path, 1 << 20).then((found) => setTimeout(() => answer.writeHead(found ? 200 : 404).end(found), 20));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close().closeAllConnections());
  const alone: Tier = { name: 'peers', has: () => Promise.resolve(false), get: () => Promise.resolve(undefined) };
  const reader = await reading({ peers: alone });
  const opened = await reader.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}:a`);
  await Promise.all([contentsOf(opened.device), ...recipe.records.map(({ id }) => reader.local.get(id))]);
  expect(asked.length).toBe(new Set(recipe.records.map(({ id }) => id)).size);
});
