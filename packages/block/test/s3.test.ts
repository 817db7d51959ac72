/** Judged by Amazon's client: the requests that it makes to a store on loopback, and how it handles the answers. */
import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retry, s3 } from '../index.js';
import { errorOf, noise, ranges, readAll, serve } from './helpers.js';

const content = noise(10_000, 1);
const SETTINGS = {
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
  AWS_EC2_METADATA_DISABLED: 'true',
};
const before = { ...process.env };
let listener: RequestListener = ranges(content);
let close = (): void => undefined;

beforeAll(async () => {
  const server = await serve((request, response) => {
    if (request.url?.startsWith('/bucket/a/disk%20image?') !== true) response.writeHead(404).end();
    else listener(request, response);
  });
  close = server.close;
  Object.assign(process.env, SETTINGS, { AWS_ENDPOINT_URL: server.url });
});
afterAll(() => {
  process.env = before;
  close();
});

const open = (): ReturnType<typeof s3> => {
  listener = ranges(content);
  return s3('s3://bucket/a/disk%20image');
};

describe('s3', () => {
  it('reads ranges of one version with signed requests', async () => {
    const device = await open();
    expect(device.version).toBe('"one"');
    expect(Buffer.compare(await readAll(device), content)).toBe(0);
    let asked: Record<string, unknown> = {};
    listener = (request, response) => {
      asked = request.headers;
      ranges(content)(request, response);
    };
    const into = new Uint8Array(100);
    await device.read(into, 9000);
    expect(into).toEqual(content.subarray(9000, 9100));
    expect(asked).toMatchObject({ range: 'bytes=9000-9099', 'if-match': '"one"' });
    expect(asked['authorization']).toMatch(/^AWS4-HMAC-SHA256 Credential=test\//);
    await device.close();
  });

  it.each<[what: string, listener: RequestListener, code: string, transient: boolean]>([
    ['an object that changed', ranges(content, '"two"'), 'ESTALE', false],
    ['an object that is gone', (_, response) => void response.writeHead(404).end(), 'ENOENT', false],
    ['a store that forbids it', (_, response) => void response.writeHead(403).end(), 'EACCES', false],
    ['a store that is busy', (_, response) => void response.writeHead(503).end(), 'EIO', true],
    ['a store that hangs up', (request) => void request.socket.destroy(), 'ECONNRESET', true],
    [
      'a body that breaks off',
      (_, response) => {
        response.writeHead(206, { etag: '"one"', 'content-range': 'bytes 0-99/10000', 'content-length': 100 });
        response.write('short', () => response.destroy());
      },
      'ECONNRESET',
      true,
    ],
  ])('refuses %s', async (_what, then, code, transient) => {
    const device = await open();
    listener = then;
    const error = await errorOf(() => device.read(new Uint8Array(100), 0));
    expect([error.code, error.transient]).toEqual([code, transient]);
    expect(error.message).toContain('s3://bucket/a/disk image: bytes=0-99');
    await device.close();
  });

  it('succeeds with retry', async () => {
    const device = retry(await open(), { delay: 1 });
    let count = 0;
    listener = (request, response) => {
      if (++count === 3) ranges(content)(request, response);
      else response.writeHead(503).end();
    };
    const into = new Uint8Array(100);
    await device.read(into, 500);
    expect(into).toEqual(content.subarray(500, 600));
    expect(count).toBe(3);
    await device.close();
  });

  it('gives up on a body that stops', async () => {
    listener = ranges(content);
    const device = await s3({ bucket: 'bucket', key: 'a/disk image', timeout: 1000 });
    listener = (_, response) => {
      response.writeHead(206, { etag: '"one"', 'content-range': 'bytes 0-99/10000', 'content-length': 100 });
      response.write('short');
    };
    const error = await errorOf(() => device.read(new Uint8Array(100), 0));
    expect([error.code, error.transient]).toEqual(['ETIMEDOUT', true]);
    await device.close();
  });

  it('opens an empty object and refuses invalid names', async () => {
    listener = ranges(new Uint8Array(0));
    expect((await s3({ bucket: 'bucket', key: 'a/disk image' })).size).toBe(0);
    for (const name of ['s3://bucket', 's3://bucket/', 'http://bucket/key', 'bucket/key'])
      expect(await errorOf(() => s3(name))).toBeInstanceOf(TypeError);
  });
});
