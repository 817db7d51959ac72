/** What can go wrong: killed processes, damaged and missing chunks, stores that lie or die, collections. */
import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { random } from '@nodeos/block';
import { afterEach, describe, expect, test } from 'vitest';
import {
  chunkServer,
  chunkStore,
  collect,
  diskTier,
  findImage,
  folderPlace,
  httpPlace,
  idOf,
  memoryPlace,
  memoryTier,
  openImage,
  ownerOf,
  patient,
  peersTier,
  push,
  resume,
  storeReader,
  tiered,
  verify,
  type PrunablePlace,
  type TierEvent,
} from '@nodeos/store';
import { contentsOf, flipped, imageOf, storeOf, temporary } from './helpers.js';
import { killing } from './kills.js';

const BLOCK = 64 << 10;
const HOUR = 3_600_000;

test('killed at any moment, a push, a commit or a collection leaves no named image that cannot be read', async () => {
  const { kills, read, problems } = await killing(await temporary(), ['push', 'gc', 'commit'], 6, random(7));
  expect(problems).toEqual([]);
  expect(read).toBeGreaterThan(kills);
});

describe('collection', () => {
  const pushed = async (place: PrunablePlace): Promise<void> => {
    const store = storeOf(place);
    await push(await imageOf(6 * BLOCK, 1), store, 'a', { blockSize: BLOCK });
    await push(await imageOf(6 * BLOCK, 2), store, 'b', { blockSize: BLOCK });
  };
  const whole = async (place: PrunablePlace, name: string): Promise<void> => {
    const { recipe } = await findImage(storeOf(place), name, undefined);
    expect(await verify(recipe, chunkStore(place))).toMatchObject({ missing: [], invalid: [] });
  };

  test.each(['memory', 'folder'])(
    'a chunk is condemned after a grace period, and deleted after another: %s',
    async (kind) => {
      const place = kind === 'memory' ? memoryPlace() : folderPlace(await temporary());
      await pushed(place);
      await storeOf(place).remove('a');
      let time = Date.now() + 1000;
      const later = (hours: number): Promise<Awaited<ReturnType<typeof collect>>> =>
        collect(place, { grace: 24 * HOUR, now: () => (time += hours * HOUR) });
      expect(await later(1)).toMatchObject({ condemned: 0, deleted: 0 });
      const condemned = await later(25);
      expect(condemned.condemned).toBeGreaterThan(0);
      expect(condemned.deleted).toBe(0);
      // Files are as young as the clock of the machine says, so the second period begins now.
      time = Date.now() + 2000;
      expect(await later(25)).toMatchObject({ deleted: condemned.condemned });
      await whole(place, 'b');
    },
  );

  test('a push of a condemned chunk takes it back, and collections go on', async () => {
    const place = memoryPlace();
    await pushed(place);
    await storeOf(place).remove('a');
    await collect(place, { grace: HOUR, now: () => Date.now() + 2 * HOUR });
    const again = await push(await imageOf(6 * BLOCK, 1), storeOf(place), 'c', { blockSize: BLOCK });
    expect(again.newChunks).toBe(0);
    await collect(place, { grace: 0, now: () => Date.now() + 2 * HOUR });
    await whole(place, 'c');
  });

  test('a read of a condemned chunk gives it, stops every deletion, and is said', async () => {
    const place = memoryPlace();
    await pushed(place);
    const { recipe } = await findImage(storeOf(place), 'a', undefined);
    await storeOf(place).remove('a');
    await collect(place, { grace: HOUR, now: () => Date.now() + 2 * HOUR });
    const rescued: string[] = [];
    const [first = { id: '' }] = recipe.records;
    const chunk = await chunkStore(place, (id) => rescued.push(id)).get(first.id);
    expect(idOf(chunk ?? Buffer.alloc(0))).toBe(first.id);
    expect(rescued).toEqual([first.id]);
    await expect(collect(place, { grace: 0 })).rejects.toThrow(/somebody has read the condemned chunk/);
    const done = await collect(place, { grace: 0, roots: [recipe], now: () => Date.now() + 1 });
    expect(done).toMatchObject({ deleted: 0 });
    await collect(place, { grace: HOUR, now: () => Date.now() + 2 * HOUR });
    await chunkStore(place).get(first.id);
    await resume(place);
    await collect(place, { grace: HOUR });
    expect(await verify(recipe, chunkStore(place))).toMatchObject({ missing: [] });
  });

  test('an image that is pushed during a collection is whole afterwards', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const place = folderPlace(await temporary());
      await pushed(place);
      await storeOf(place).remove('a');
      const image = await imageOf(6 * BLOCK, 1);
      await Promise.all([
        collect(place, { grace: HOUR, now: () => Date.now() + 2 * HOUR }),
        push(image, storeOf(place), 'again', { blockSize: BLOCK }),
      ]);
      await collect(place, { grace: 10 * HOUR });
      await whole(place, 'again');
      await whole(place, 'b');
    }
  });
});

describe('tiers', () => {
  const chunk = Buffer.from('the stored bytes of a chunk');
  const id = idOf(chunk);
  const origin = async (): Promise<ReturnType<typeof chunkStore>> => {
    const place = memoryPlace();
    await chunkStore(place).put(id, chunk);
    return chunkStore(place);
  };

  test('what a farther tier gives is kept in the nearer ones', async () => {
    const events: TierEvent[] = [];
    const disk = await diskTier({ folder: await temporary(), most: 1 << 20 });
    const tiers = tiered([memoryTier(1 << 20), disk, await origin()], { onEvent: (event) => events.push(event) });
    expect(await tiers.get(id)).toEqual(chunk);
    await expect.poll(() => disk.has(id)).toBe(true);
    expect(await tiers.get(id)).toEqual(chunk);
    expect(events.filter(({ event }) => event === 'hit').map(({ tier }) => tier)).toEqual(['memory', 'memory']);
    expect(await tiers.get(idOf(Buffer.from('another')))).toBeUndefined();
  });

  test.each([
    ['has other bytes', (path: string) => writeFile(path, flipped(chunk, 3))],
    ['was cut off', (path: string) => truncate(path, 4)],
    ['is empty', (path: string) => truncate(path, 0)],
  ])('a file of the disk tier that %s is set aside, and the chunk comes from the store', async (_, damage) => {
    const folder = await temporary();
    const disk = await diskTier({ folder, most: 1 << 20 });
    await disk.keep?.(id, chunk);
    const path = join(folder, 'chunks', id.slice(0, 2), id);
    await damage(path);
    const events: TierEvent[] = [];
    const tiers = tiered([disk, await origin()], { onEvent: (event) => events.push(event) });
    expect(await tiers.get(id)).toEqual(chunk);
    expect(events.map(({ event }) => event)).toEqual(['invalid', 'hit']);
    expect(await readdir(join(folder, 'quarantine'))).toEqual([id]);
    await expect.poll(() => readFile(path).catch(() => undefined)).toEqual(chunk);
  });

  test('a disk tier that was damaged at random gives no wrong byte of an image', async () => {
    const folder = await temporary();
    const store = storeOf(memoryPlace());
    const image = await imageOf(30 * BLOCK, 9);
    const bytes = await contentsOf(image);
    await push(image, store, 'a', { blockSize: BLOCK });
    const found = await findImage(store, 'a', undefined);
    const draw = random(3);
    for (let turn = 0; turn < 10; turn++) {
      const disk = await diskTier({ folder, most: 64 << 20 });
      const device = await openImage(found, tiered([disk, store.chunks]));
      expect((await contentsOf(device)).equals(bytes)).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const name of (await readdir(join(folder, 'chunks'), { recursive: true })).filter(
        (one) => one.length > 60,
      )) {
        const path = join(folder, 'chunks', name);
        if (draw() < 0.3) await writeFile(path, flipped(await readFile(path), Math.floor(draw() * 1e6)));
        else if (draw() < 0.1) await truncate(path, Math.floor(draw() * 100));
      }
    }
  });

  test('the disk tier keeps its bound, and what was used last', async () => {
    const folder = await temporary();
    const most = 1 << 20;
    const disk = await diskTier({ folder, most });
    const chunks = Array.from({ length: 100 }, (_, number) => Buffer.alloc(32 << 10, `chunk ${number} `));
    for (const bytes of chunks) {
      await disk.keep?.(idOf(bytes), bytes);
      const names = (await readdir(join(folder, 'chunks'), { recursive: true })).filter((name) => name.length > 60);
      expect(names.length * (32 << 10)).toBeLessThanOrEqual(most);
    }
    expect(await disk.has(idOf(chunks.at(-1) ?? Buffer.alloc(0)))).toBe(true);
    expect(await disk.has(idOf(chunks[0] ?? Buffer.alloc(0)))).toBe(false);
  });
});

describe('other hosts', () => {
  test('three hosts ask the store for each chunk once, and a host that dies is passed by', async () => {
    const image = await imageOf(40 * BLOCK, 11);
    const bytes = await contentsOf(image);
    const origin = storeOf(memoryPlace());
    await push(image, origin, 'a', { blockSize: BLOCK });
    const found = await findImage(origin, 'a', undefined);
    const asked: string[] = [];
    const counted = {
      ...origin.chunks,
      get: (id: string) => {
        asked.push(id);
        return origin.chunks.get(id);
      },
    };
    const urls: string[] = [];
    const hosts = await Promise.all(
      [0, 1, 2].map(async () => {
        const near = memoryTier(8 << 20);
        const server = createServer(chunkServer(tiered([near, counted]))).listen(0, '127.0.0.1');
        await once(server, 'listening');
        urls.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
        return { near, server, url: urls.at(-1) ?? '' };
      }),
    );
    const readAt = async ({ near, url }: (typeof hosts)[number]): Promise<void> => {
      const peers = peersTier({ self: url, peers: urls.filter((other) => other !== url) });
      const device = await openImage(found, tiered([near, peers, counted]));
      expect((await contentsOf(device)).equals(bytes)).toBe(true);
    };
    for (const host of hosts) await readAt(host);
    const distinct = new Set(found.recipe.records.map(({ id }) => id)).size;
    expect(asked.length).toBe(distinct);
    for (const url of urls) expect(found.recipe.records.some(({ id }) => ownerOf(id, urls) === url)).toBe(true);
    const [dead, , other] = hosts;
    dead?.server.close();
    dead?.server.closeAllConnections();
    if (other) await readAt({ ...other, near: memoryTier(8 << 20) });
    for (const { server } of hosts) server.close(() => undefined).closeAllConnections();
  });

  test('when a host leaves, only its chunks get another owner', () => {
    const all = ['http://a', 'http://b', 'http://c', 'http://d'];
    for (let number = 0; number < 500; number++) {
      const id = idOf(Buffer.from(`chunk ${number}`));
      const owner = ownerOf(id, all);
      if (owner !== 'http://d') expect(ownerOf(id, all.slice(0, 3))).toBe(owner);
    }
  });
});

describe('web servers', () => {
  const servers: Server[] = [];
  afterEach(() => servers.splice(0).forEach((server) => (server.close(), server.closeAllConnections())));
  async function serverOf(listener: RequestListener, port = 0): Promise<{ url: URL; server: Server }> {
    const server = createServer(listener).listen(port, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return { server, url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/store`) };
  }
  const chunk = Buffer.from('a chunk');
  const id = idOf(chunk);

  test.each<[string, RequestListener, RegExp]>([
    ['another object', (_, answer) => answer.end('another object'), /gave other bytes/],
    [
      'no end',
      (_, answer) => void answer.writeHead(200, { 'content-length': '900' }).write(chunk, () => answer.destroy()),
      /aborted/,
    ],
    [
      'an endless body',
      (_, answer) => {
        // Node.js 26 does not call an answer destroyed whose client has gone.
        const more = (): void => void answer.write(Buffer.alloc(1 << 20), (error) => error ?? more());
        more();
      },
      /has more than/,
    ],
    [
      'a length of 10 GB',
      (_, answer) => void answer.writeHead(200, { 'content-length': '10000000000' }).write(chunk),
      /has more than/,
    ],
    [
      'redirects without end',
      (request, answer) => void answer.writeHead(302, { location: request.url }).end(),
      /redirects/,
    ],
    [
      'a redirect to a file',
      (_, answer) => void answer.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      /not HTTP/,
    ],
    ['status 500', (_, answer) => void answer.writeHead(500).end(), /HTTP status 500/],
  ])('one that gives %s is an error, and the next tier is asked', async (_, listener, message) => {
    const { url } = await serverOf(listener);
    const lying = chunkStore(httpPlace(url));
    await expect(tiered([lying]).get(id)).rejects.toThrow(message);
    const right = memoryPlace();
    await chunkStore(right).put(id, chunk);
    expect(await tiered([lying, chunkStore(right)]).get(id)).toEqual(chunk);
  });

  test('an image is read from a web server, which dies in between, and comes back', async () => {
    const folder = await temporary();
    const image = await imageOf(20 * BLOCK, 4);
    const bytes = await contentsOf(image);
    await push(image, storeOf(folderPlace(folder)), 'a', { blockSize: BLOCK });
    let requests = 0;
    const files: RequestListener = (request, answer) => {
      requests++;
      const path = decodeURIComponent((request.url ?? '').replace(/^\/store\//, ''));
      readFile(join(folder, path)).then(
        (content) => answer.writeHead(200, { 'content-length': content.length }).end(content),
        () => answer.writeHead(404).end(),
      );
    };
    const { url, server } = await serverOf(files);
    const reader = await storeReader({ patience: 20_000, requests: 2 });
    const { device } = await reader.open(`${url.href}:a`);
    const into = Buffer.alloc(bytes.length);
    await device.read(into.subarray(0, 3 * BLOCK), 0);
    server.close();
    server.closeAllConnections();
    const rest = device.read(into.subarray(3 * BLOCK), 3 * BLOCK);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await serverOf(files, Number(url.port));
    await rest;
    expect(into.equals(bytes)).toBe(true);
    expect(requests).toBeGreaterThan(10);
    await expect(
      patient(chunkStore(httpPlace(new URL('http://127.0.0.1:1/'))), { patience: 100 }).get(id),
    ).rejects.toThrow(/ECONNREFUSED/);
    await reader.close();
  });
});
