/** Images in Debian's registry of containers. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  createServer,
  request as ask,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  encodeStartList,
  findImage,
  makeKeys,
  openImage,
  push,
  registryStore,
  rekey,
  verify,
  type PackRepository,
} from '@nodeos/store';
import { startRegistry, type Registry } from '../../remote/test/registry.js';
import { decodeManifest, encodeManifest, TYPES } from '../registry/manifest.js';
import { repositoryAt as repositoryOf } from '../registry/repository.js';
import { contentsOf, imageOf, temporary } from './helpers.js';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';

const BLOCK = 64 << 10;
const UNKNOWN = { replaces: undefined, created: undefined };

/** @param reads counts the bytes that are asked for */
function repositoryAt(host: string, path: string, reads = { bytes: 0 }): PackRepository {
  const repository = repositoryOf(new URL(`oci://${host}/${path}`));
  return {
    ...repository,
    blob: (blob, offset, signal, length = 0) => {
      reads.bytes += length;
      return repository.blob(blob, offset, signal, length);
    },
  };
}

let registry: Registry;
let blobs = '';
beforeAll(async () => {
  blobs = await mkdtemp(join(tmpdir(), 'nodeos-store-registry-'));
  registry = await startRegistry(blobs);
});
afterAll(async () => {
  await registry.close();
  await rm(blobs, { recursive: true, force: true });
});

test('an image is pushed in packs, read by range, and its next version adds a pack with what is new', async () => {
  const keys = await makeKeys(join(await temporary(), 'key'));
  const device = await imageOf(40 * BLOCK, 1);
  const first = await push(device, registryStore(repositoryAt(registry.host, 'image')), 'one', {
    keys,
    blockSize: BLOCK,
  });
  expect(first.newChunks).toBe(first.chunks);

  const reads = { bytes: 0 };
  const store = registryStore(repositoryAt(registry.host, 'image', reads));
  const image = await findImage(store, 'one', keys.tenant);
  const read = await openImage(image, store.chunks);
  const before = reads.bytes;
  await read.read(Buffer.alloc(1), (image.recipe.records[3]?.index ?? 0) * BLOCK);
  expect(reads.bytes - before).toBe(image.recipe.records[3]?.storedLength);
  expect((await contentsOf(read)).equals(await contentsOf(device))).toBe(true);

  await device.write?.(Buffer.from('a change'), 7 * BLOCK);
  const again = registryStore(repositoryAt(registry.host, 'image'));
  expect(await push(device, again, 'two', { keys, blockSize: BLOCK, bases: ['one'] })).toMatchObject({ newChunks: 1 });
  const manifest = decodeManifest(
    (await repositoryAt(registry.host, 'image').manifest('two', new AbortController().signal))?.bytes ??
      Buffer.alloc(0),
    'two',
  );
  expect(manifest.packs).toHaveLength(2);
  const fresh = registryStore(repositoryAt(registry.host, 'image'));
  const two = await findImage(fresh, 'two', keys.tenant);
  expect((await contentsOf(await openImage(two, fresh.chunks))).equals(await contentsOf(device))).toBe(true);
  expect(await verify(two.recipe, fresh.chunks, { keys: two.keys })).toMatchObject({ missing: [], invalid: [] });
});

test('a start list and the table of another tenant are added, and the registry takes skopeo’s look at it', async () => {
  const folder = await temporary();
  const keys = await makeKeys(join(folder, 'key'));
  const other = await makeKeys(join(folder, 'other'), keys.salt);
  const store = registryStore(repositoryAt(registry.host, 'lists'));
  const { id, recipe } = await push(await imageOf(8 * BLOCK, 2), store, 'a', { keys, blockSize: BLOCK });
  const indexes = recipe.records.map(({ index }) => index).reverse();
  await store.putStartList(id, encodeStartList(indexes));
  await rekey(store, 'a', { from: keys.tenant, to: other.tenant });
  const fresh = registryStore(repositoryAt(registry.host, 'lists'));
  expect((await findImage(fresh, 'a', other.tenant)).start).toEqual(indexes);
  expect((await findImage(fresh, 'a', keys.tenant)).start).toEqual(indexes);
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/lists:a`]);
  expect(JSON.parse(raw.toString())).toMatchObject({
    artifactType: TYPES.artifact,
    config: { mediaType: TYPES.empty },
  });
});

test('a registry that sends its readers elsewhere is asked once for each pack, and again when the link has expired', async () => {
  const device = await imageOf(20 * BLOCK, 3);
  await push(device, registryStore(repositoryAt(registry.host, 'linked')), 'one', { blockSize: BLOCK });
  const asked = { registry: 0, storage: 0, refused: 0 };
  const uses = new Map<string, number>();
  /** Gives a blob by a link that is good for six times. */
  const storage = await listening((request, response) => {
    const used = (uses.get(request.url ?? '') ?? 0) + 1;
    uses.set(request.url ?? '', used);
    if (used > 6) {
      asked.refused++;
      return void response.writeHead(403).end();
    }
    asked.storage++;
    pass(request, response);
  });
  const front = await listening((request, response) => {
    if (!request.url?.includes('/blobs/')) return pass(request, response);
    asked.registry++;
    response.writeHead(307, { location: `${storage.url}${request.url}?link=${asked.registry}` }).end();
  });
  const store = registryStore(repositoryAt(new URL(front.url).host, 'linked'));
  const image = await findImage(store, 'one', undefined);
  expect(
    (await contentsOf(await openImage(image, store.chunks, { requests: 1 }))).equals(await contentsOf(device)),
  ).toBe(true);
  const chunks = image.recipe.records.length;
  expect(chunks).toBeGreaterThan(12);
  expect(asked.storage).toBe(chunks + 2); // the recipe and the index
  expect(asked.registry).toBe(2 + Math.ceil(chunks / 6));
  expect(asked.refused).toBe(Math.ceil(chunks / 6) - 1);
  front.close();
  storage.close();
});

/** Asks Debian's registry, and gives its answer. */
function pass(request: IncomingMessage, response: ServerResponse): void {
  const headers = { ...request.headers, host: registry.host };
  ask(new URL(request.url ?? '', `http://${registry.host}`), { method: request.method ?? 'GET', headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.pipe(response);
  }).end();
}

async function listening(listener: RequestListener): Promise<{ url: string; close: () => void }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

test('an image of nothing, a name that is not there, and manifests of others', async () => {
  const store = registryStore(repositoryAt(registry.host, 'odd'));
  await push(memory(0), store, 'empty');
  expect((await findImage(registryStore(repositoryAt(registry.host, 'odd')), 'empty', undefined)).recipe.size).toBe(0);
  await expect(findImage(store, 'none', undefined)).rejects.toThrow(/has no image "none"/);
  expect(() => decodeManifest(Buffer.from('{"layers": [null]}'), 'm')).toThrow(/without a digest/);
  expect(() => decodeManifest(Buffer.from('[1, 2'), 'm')).toThrow(/is no JSON/);
  expect(() => decodeManifest(Buffer.from('{"layers": []}'), 'm')).toThrow(/no image of a store/);
  const blob = { digest: `sha256:${'ab'.repeat(32)}`, size: 1 };
  const packs = Array.from({ length: 40_000 }, () => blob);
  const large = {
    recipe: blob,
    index: blob,
    keys: new Map<string, typeof blob>(),
    start: undefined,
    packs,
    ...UNKNOWN,
  };
  expect(() => encodeManifest(large, 'm')).toThrow(/in 40000 packs/);
});
