/** Collection in a registry: Debian's, and what its answers may hide. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory, random, type BlockBackend } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  collectPacks,
  encodeStartList,
  findImage,
  findRecipe,
  makeKeys,
  openImage,
  push,
  registryStore,
  rekey,
  type Keys,
  type PackRepository,
} from '@nodeos/store';
import { startRegistry, type Registry } from '../../remote/test/registry.js';
import { decodeManifest, TYPES, type ImageManifest } from '../registry/manifest.js';
import { repositoryAt } from '../registry/repository.js';
import { contentsOf, flipped, temporary } from './helpers.js';
import { killingInRegistry, TAGS } from './registry-kills.js';

const BLOCK = 64 << 10;
const BLOCKS = 16;
const HOUR = 3_600_000;
const signal = new AbortController().signal;

let registry: Registry;
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nodeos-store-registry-gc-'));
  registry = await startRegistry(folder);
});
afterAll(async () => {
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

const repositoryOf = (path: string): PackRepository => repositoryAt(new URL(`oci://${registry.host}/${path}`));

/** Blocks that do not compress; block `index` is of the version that `versions` says. */
async function imageOfVersions(versions: readonly number[]): Promise<BlockBackend> {
  const device = memory(versions.length * BLOCK);
  for (const [index, version] of versions.entries()) {
    const draw = random(1000 * version + index + 1);
    await device.write?.(Buffer.from(Uint8Array.from({ length: BLOCK }, () => draw() * 256)), index * BLOCK);
  }
  return device;
}

/** An image whose first `changed` blocks are of another version. */
const changedImage = (changed: number, version: number): Promise<BlockBackend> =>
  imageOfVersions(Array.from({ length: BLOCKS }, (_, index) => (index < changed ? version : 0)));

async function pushed(repository: PackRepository, tag: string, image: BlockBackend, keys?: Keys): Promise<void> {
  await push(image, registryStore(repository), tag, { blockSize: BLOCK, keys });
}

async function manifestOf(repository: PackRepository, tag: string): Promise<ImageManifest> {
  return decodeManifest((await repository.manifest(tag, signal))?.bytes ?? Buffer.alloc(0), tag);
}

/** The image as somebody reads it who has just come. */
async function contentsIn(repository: PackRepository, tag: string, keys?: Keys): Promise<Buffer> {
  const store = registryStore(repository);
  return contentsOf(await openImage(await findImage(store, tag, keys?.tenant), store.chunks));
}

const later = { now: () => Date.now() + 2 * HOUR };

test('packs of which little is needed are written anew, old manifests go a grace period later, and then the registry frees their bytes', async () => {
  const repository = repositoryOf('versions');
  const keys = await makeKeys(join(await temporary(), 'key'));
  await pushed(repository, 'app', await changedImage(0, 0), keys);
  const old = registryStore(repository);
  const oldImage = await findImage(old, 'app', keys.tenant);
  await pushed(repository, 'app', await changedImage(12, 1), keys);
  const current = await changedImage(12, 2);
  await pushed(repository, 'app', current, keys);
  const before = await manifestOf(repository, 'app');
  expect(before.packs).toHaveLength(2); // the rest of the first version, and the third

  const reader = registryStore(repository);
  const image = await findImage(reader, 'app', keys.tenant);
  const dry = await collectPacks(repository, { grace: HOUR, isDry: true });
  expect(dry).toMatchObject({ images: 1, packs: 2, rewritten: 1, updated: 1, deleted: 0, waiting: 2 });
  expect(await manifestOf(repository, 'app')).toEqual(before);

  const first = await collectPacks(repository, { grace: HOUR });
  expect(first).toEqual({ ...dry, waiting: 2 });
  const after = await manifestOf(repository, 'app');
  expect(after.recipe).toEqual(before.recipe);
  expect(after.packs).toHaveLength(2);
  expect(after.packs.reduce((sum, { size }) => sum + size, 0)).toBe(first.neededBytes);
  expect((await contentsIn(repository, 'app', keys)).equals(await contentsOf(current))).toBe(true);
  // The registry's own collection takes nothing that is young.
  await registry.collect();
  const kept = await contentsOf(await openImage(oldImage, old.chunks));
  expect(kept.equals(await contentsOf(await changedImage(0, 0)))).toBe(true);

  const second = await collectPacks(repository, { grace: HOUR, ...later });
  expect(second).toMatchObject({ rewritten: 0, dropped: 0, updated: 0, deleted: 3, waiting: 0, refused: 0 });
  const [full, freed] = await registry.collect();
  // The first version, and the twelve blocks of the second, are not needed any more.
  expect(full - freed).toBeGreaterThan((BLOCKS + 12) * BLOCK);
  expect((await contentsIn(repository, 'app', keys)).equals(await contentsOf(current))).toBe(true);
  // Somebody who knows only where the chunks were before asks again where they are.
  expect((await contentsOf(await openImage(image, reader.chunks))).equals(await contentsOf(current))).toBe(true);
  await expect(old.chunks.get(oldImage.recipe.records[0]?.id ?? '')).rejects.toThrow(/404/);
  expect(await collectPacks(repository, { grace: HOUR, ...later })).toMatchObject({
    updated: 0,
    deleted: 0,
    waiting: 0,
  });
});

test('a pack that two images need half of together stays, and what they share is moved once', async () => {
  const repository = repositoryOf('shared');
  await pushed(repository, 'base', await changedImage(0, 0));
  await push(await changedImage(11, 1), registryStore(repository), 'a', { blockSize: BLOCK, bases: ['base'] });
  await push(await changedImage(9, 2), registryStore(repository), 'b', { blockSize: BLOCK, bases: ['base'] });
  await registryStore(repository).remove('base');
  expect(await collectPacks(repository, { grace: HOUR })).toMatchObject({ images: 2, rewritten: 1, updated: 2 });
  const [a, b] = [await manifestOf(repository, 'a'), await manifestOf(repository, 'b')];
  expect(a.packs.filter(({ digest }) => b.packs.some((pack) => pack.digest === digest))).toHaveLength(1);
  for (const [tag, count, version] of [
    ['a', 11, 1],
    ['b', 9, 2],
  ] as const)
    expect((await contentsIn(repository, tag)).equals(await contentsOf(await changedImage(count, version)))).toBe(true);
  expect(await registryStore(repository).names()).toEqual(['a', 'b']);
});

test('a removed image has no name at once, keeps its bytes for the grace period, and can be pushed again', async () => {
  const repository = repositoryOf('removed');
  await pushed(repository, 'a', await changedImage(16, 7));
  await pushed(repository, 'b', await changedImage(16, 8));
  const reader = registryStore(repository);
  const image = await findImage(reader, 'a', undefined);
  await registryStore(repository).remove('a');
  await expect(findRecipe(registryStore(repository), 'a')).rejects.toThrow(/has no image "a"/);
  expect(await registryStore(repository).names()).toEqual(['b']);
  expect(await collectPacks(repository, { grace: HOUR })).toMatchObject({ deleted: 0, waiting: 2 });
  await registry.collect();
  expect((await contentsOf(await openImage(image, reader.chunks))).length).toBe(BLOCKS * BLOCK);
  expect(await collectPacks(repository, { grace: HOUR, ...later })).toMatchObject({ deleted: 2, waiting: 0 });
  expect(await repository.tags(signal)).toEqual(['b']);
  const [full, freed] = await registry.collect();
  expect(full - freed).toBeGreaterThan(BLOCKS * BLOCK);
  await pushed(repository, 'a', await changedImage(16, 7));
  expect((await contentsIn(repository, 'a')).length).toBe(BLOCKS * BLOCK);
});

test('what another tag stands for, and what others keep in the repository, is not deleted', async () => {
  const repository = repositoryOf('pinned');
  await pushed(repository, 'a', await changedImage(0, 0));
  const first = await repository.manifest('a', signal);
  const bytes = Buffer.from(first?.bytes ?? []);
  await repository.putManifest('pin', { bytes, mediaType: TYPES.manifest }, signal);
  await pushed(repository, 'a', await changedImage(16, 1));
  const replaced = (await manifestOf(repository, 'a')).replaces ?? '';
  await pushed(repository, 'a', await changedImage(16, 2));
  const second = (await manifestOf(repository, 'a')).replaces ?? '';
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ mediaType: TYPES.manifest, digest: second, size: bytes.length }],
  };
  const document = { bytes: Buffer.from(JSON.stringify(index)), mediaType: index.mediaType };
  await repository.putManifest('others', document, signal);
  expect(await collectPacks(repository, { grace: HOUR, ...later })).toMatchObject({
    images: 2,
    deleted: 0,
    waiting: 2,
  });
  for (const digest of [replaced, second]) expect(await repository.manifest(digest, signal)).toBeDefined();
  expect((await contentsIn(repository, 'pin')).equals(await contentsOf(await changedImage(0, 0)))).toBe(true);
});

describe('two writers', () => {
  /** A repository of which the third version is pushed when a collection stores its first new blob. */
  async function contested(path: string): Promise<PackRepository> {
    const repository = repositoryOf(path);
    await pushed(repository, 'a', await changedImage(0, 0));
    await pushed(repository, 'a', await changedImage(12, 1));
    let isPushed = false;
    return {
      ...repository,
      async putBlob(...args) {
        if (!isPushed) {
          isPushed = true;
          await pushed(repository, 'a', await changedImage(13, 3));
        }
        return repository.putBlob(...args);
      },
    };
  }

  test('an image that is pushed while its packs are written anew keeps what was pushed', async () => {
    const repository = await contested('contested');
    expect(await collectPacks(repository, { grace: HOUR })).toMatchObject({ rewritten: 1, updated: 0, changed: 1 });
    expect((await contentsIn(repository, 'a')).equals(await contentsOf(await changedImage(13, 3)))).toBe(true);
    expect(await collectPacks(repository, { grace: HOUR })).toMatchObject({ updated: 1, changed: 0 });
  });

  test('a start list or a table of keys never brings an old version back', async () => {
    const repository = repositoryOf('late');
    const keys = await makeKeys(join(await temporary(), 'key'));
    await pushed(repository, 'a', await changedImage(0, 0), keys);
    const store = registryStore(repository);
    const { id, recipe } = await findImage(store, 'a', keys.tenant);
    await pushed(repository, 'a', await changedImage(12, 1), keys);
    const list = encodeStartList([recipe.records[0]?.index ?? 0]);
    await expect(store.putStartList(id, list)).rejects.toThrow(/has got other contents meanwhile, which stay/);
    expect((await contentsIn(repository, 'a', keys)).equals(await contentsOf(await changedImage(12, 1)))).toBe(true);
    const other = await makeKeys(join(await temporary(), 'other'), keys.salt);
    await rekey(registryStore(repository), 'a', { from: keys.tenant, to: other.tenant });
    expect((await contentsIn(repository, 'a', other)).equals(await contentsOf(await changedImage(12, 1)))).toBe(true);
  });

  test('a push that somebody has overwritten at the same moment says so', async () => {
    const repository = repositoryOf('moment');
    const overwritten: PackRepository = {
      ...repository,
      async putManifest(...args) {
        await repository.putManifest(...args);
        await repository.putManifest('a', { bytes: theirs, mediaType: TYPES.manifest }, signal);
        return '';
      },
    };
    await pushed(repository, 'a', await changedImage(0, 0));
    const theirs = Buffer.from((await repository.manifest('a', signal))?.bytes ?? []);
    await expect(pushed(overwritten, 'a', await changedImage(12, 1))).rejects.toThrow(/by somebody else at the same/);
  });
});

describe('answers that are wrong', () => {
  test('damaged chunks are counted, and stay where they are', async () => {
    const repository = repositoryOf('damaged');
    await pushed(repository, 'a', await changedImage(0, 0));
    await pushed(repository, 'a', await changedImage(12, 1));
    const sparse = (await manifestOf(repository, 'a')).packs.find(({ size }) => size > 13 * BLOCK);
    const target = { ...repository, blob: flipping(repository, sparse?.digest ?? '') };
    expect(await collectPacks(target, { grace: HOUR })).toMatchObject({ rewritten: 1, damaged: 1, updated: 1 });
    expect((await manifestOf(repository, 'a')).packs).toHaveLength(3);
    expect((await contentsIn(repository, 'a')).equals(await contentsOf(await changedImage(12, 1)))).toBe(true);
  });

  test('an image that cannot be read, a manifest that is another one, and a registry that deletes nothing', async () => {
    const repository = repositoryOf('wrong');
    await pushed(repository, 'a', await changedImage(0, 0));
    await pushed(repository, 'a', await changedImage(12, 1));
    const before = await repository.manifest('a', signal);
    const index = (await manifestOf(repository, 'a')).index.digest;
    await expect(
      collectPacks({ ...repository, blob: flipping(repository, index) }, { grace: HOUR, ...later }),
    ).rejects.toThrow(/the index is not what its digest says/);
    const lying: PackRepository = { ...repository, manifest: (_, ...rest) => repository.manifest('a', ...rest) };
    await expect(collectPacks(lying, { grace: HOUR, ...later })).rejects.toThrow(/is not what its digest says/);
    expect(await repository.manifest('a', signal)).toEqual(before);
    const keeping: PackRepository = { ...repository, deleteManifest: () => Promise.resolve('refused') };
    await collectPacks(repository, { grace: HOUR });
    expect(await collectPacks(keeping, { grace: HOUR, ...later })).toMatchObject({ deleted: 0, refused: 2 });
  });
});

/** Reads of one blob have their first byte wrong. */
function flipping(repository: PackRepository, digest: string): PackRepository['blob'] {
  return async (blob, ...rest) => {
    const { offset, body } = await repository.blob(blob, ...rest);
    if (blob.digest !== digest) return { offset, body };
    const parts: Uint8Array[] = [];
    for await (const part of body) parts.push(part);
    return {
      offset,
      body: (async function* () {
        await Promise.resolve();
        yield flipped(Buffer.concat(parts), 0);
      })(),
    };
  };
}

test('killed at any moment, a push or a collection leaves each tag an image that can be read', async () => {
  const { kills, read, overwritten, problems } = await killingInRegistry(`oci://${registry.host}/killed`, 4, random(7));
  expect(problems).toEqual([]);
  expect(read).toBe(TAGS.length * kills);
  expect(overwritten).toBeLessThan(3); // of dozens of pushes
}, 180_000);
