/** A store in S3, judged by moto (`python3 -m pip install 'moto[server]'`), if it is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { collect, findImage, makeKeys, openImage, push, s3Place, verify } from '@nodeos/store';
import { contentsOf, imageOf, storeOf, temporary } from './helpers.js';

const missing = spawnSync('python3', ['-c', 'import moto.server']).status !== 0;
const BLOCK = 64 << 10;
const HOUR = 3_600_000;

describe.skipIf(missing)(`a store in S3${missing ? ' (moto is not here)' : ''}`, () => {
  let end: () => Promise<void> = () => Promise.resolve();
  beforeAll(async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    const server = spawn('python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
    const ended = once(server, 'exit');
    end = async () => {
      server.kill('SIGKILL');
      await ended;
    };
    Object.assign(process.env, {
      ...{ AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
    });
    const client = new S3Client({ endpoint: `http://127.0.0.1:${port}`, forcePathStyle: true });
    for (let tries = 0; ; tries++) {
      const made = await client.send(new CreateBucketCommand({ Bucket: 'bucket' })).catch((error: unknown) => error);
      if (!(made instanceof Error)) break;
      if (tries === 60) throw made;
      await sleep(500);
    }
    client.destroy();
  });
  afterAll(() => end());

  test('an image is pushed, read, collected after another grace period, and what others need stays', async () => {
    const place = s3Place(new URL('s3://bucket/some/prefix'));
    const store = storeOf(place);
    const keys = await makeKeys(join(await temporary(), 'key'));
    const [one, two] = [await imageOf(10 * BLOCK, 1), await imageOf(10 * BLOCK, 2)];
    const { newChunks } = await push(one, store, 'one', { keys, blockSize: BLOCK });
    await push(two, store, 'two', { keys, blockSize: BLOCK });
    expect(await push(one, store, 'again', { keys, blockSize: BLOCK })).toMatchObject({ newChunks: 0 });
    const image = await findImage(store, 'one', keys.tenant);
    expect((await contentsOf(await openImage(image, store.chunks))).equals(await contentsOf(one))).toBe(true);
    expect(await store.names()).toEqual(['again', 'one', 'two']);
    await store.remove('one');
    await store.remove('again');
    const later = (hours: number): ReturnType<typeof collect> =>
      collect(place, { grace: HOUR, now: () => Date.now() + hours * HOUR });
    expect(await later(0)).toMatchObject({ condemned: 0 });
    expect(await later(2)).toMatchObject({ condemned: newChunks, deleted: 0 });
    // A push takes some of them back.
    expect(await push(one, store, 'back', { keys, blockSize: BLOCK })).toMatchObject({ newChunks: 0 });
    expect(await later(4)).toMatchObject({ deleted: 0 });
    await store.remove('back');
    await later(6);
    expect(await later(8)).toMatchObject({ deleted: newChunks });
    const left = await findImage(store, 'two', keys.tenant);
    expect(await verify(left.recipe, store.chunks, { keys: left.keys })).toMatchObject({ missing: [], invalid: [] });
    await expect(findImage(store, 'one', keys.tenant)).rejects.toThrow(/has no image "one"/);
    await store.close();
  });
});
