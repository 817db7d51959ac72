/**
 * Judged by an independent S3 server: moto, in Python (`python3 -m pip install 'moto[server]'`), if it is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { s3 } from '../index.js';
import { behavesAsBlockBackend } from './contract.js';
import { errorOf, freePort, noise, readAll } from './helpers.js';

const missing = spawnSync('python3', ['-c', 'import moto.server']).status !== 0;
const Bucket = 'bucket';

describe.skipIf(missing)(`s3 with moto${missing ? ' (not here)' : ''}`, () => {
  let client: S3Client;
  let end: () => Promise<void>;
  beforeAll(async () => {
    const port = await freePort();
    const words = ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)];
    const server = spawn('python3', words, { stdio: 'ignore' });
    const ended = once(server, 'exit');
    end = async () => {
      server.kill('SIGKILL');
      await ended;
    };
    client = new S3Client({
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      forcePathStyle: true,
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    for (let tries = 0; server.exitCode === null; tries++) {
      const made = await client.send(new CreateBucketCommand({ Bucket })).catch((error: unknown) => error as Error);
      if (!(made instanceof Error)) break;
      if (tries === 300) throw made;
      await sleep(100);
    }
  }, 120_000);
  afterAll(async () => {
    client.destroy();
    await end();
  });

  let count = 0;
  const put = async (content: Uint8Array, key = `a/disk image ${count++}`): Promise<string> => {
    await client.send(new PutObjectCommand({ Bucket, Key: key, Body: content }));
    return key;
  };
  const open = (key: string): ReturnType<typeof s3> => s3({ bucket: Bucket, key, client });

  behavesAsBlockBackend({ name: 's3', make: async (content) => open(await put(content)), methods: [], runs: 10 });

  it('reads an object', async () => {
    const content = randomBytes(9 << 20);
    const device = await open(await put(content));
    expect(Buffer.compare(await readAll(device), content)).toBe(0);
    await device.close();
  });

  it('does not mix an object with its replacement', async () => {
    const key = await put(noise(1000, 1));
    const device = await open(key);
    await device.read(new Uint8Array(10), 0);
    await put(noise(1000, 2), key);
    expect(await errorOf(() => device.read(new Uint8Array(10), 0))).toMatchObject({ code: 'ESTALE', transient: false });
    await client.send(new DeleteObjectCommand({ Bucket, Key: key }));
    expect(await errorOf(() => device.read(new Uint8Array(10), 0))).toMatchObject({ code: 'ENOENT', transient: false });
    await device.close();
  });

  it('reports a missing object or bucket as ENOENT', async () => {
    expect(await errorOf(() => open('nothing'))).toMatchObject({ code: 'ENOENT' });
    expect(await errorOf(() => s3({ bucket: 'another', key: 'x', client }))).toMatchObject({ code: 'ENOENT' });
  });
});
