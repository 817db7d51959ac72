import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { Cache, sourceLockName } from '../cache.js';
import { InterruptedError, sha256 } from '@nodeos/base';
import { fetchSource } from '../fetch.js';
import { withLock } from '../lock.js';
import type { Place, Source } from '../source.js';
import { namesIn, rejectionOf, serve, tempDir, type Server } from './helpers.js';

const CONTENT = Buffer.from(Array.from({ length: 5000 }, (_, index) => `line ${index}\n`).join(''));
const SHA256 = sha256(CONTENT);
const WRONG = sha256('something else');

beforeAll(() => {
  process.env['NO_PROXY'] = '127.0.0.1,localhost'; // the host's proxy must not be used
});

const source = (places: Place[], maxBytes?: number): Source => ({
  name: 'code',
  version: '1.0',
  places,
  ...(maxBytes === undefined ? {} : { maxBytes }),
});
const quiet = { signal: new AbortController().signal, progress: () => undefined };
const fetched = (cache: Cache, places: Place[], maxBytes?: number): Promise<string> =>
  fetchSource(cache, source(places, maxBytes), quiet);
const failureOf = async (cache: Cache, places: Place[], maxBytes?: number): Promise<string> => {
  const error = await rejectionOf(fetched(cache, places, maxBytes));
  expect(error.message).toBe(`cannot fetch code 1.0 from any of its ${places.length} places`);
  return error.lines.join('\n');
};
const sourcesIn = (cache: Cache): string[] => namesIn(join(cache.root, 'sources'));
const at = (server: Server, path = '/file'): Place => ({ url: `${server.url}${path}`, sha256: SHA256 });

/** Serves the content and ranges of it. */
const serveRanges = (): Promise<Server> =>
  serve((request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
    if (Number.isNaN(from)) return void response.end(CONTENT);
    if (from >= CONTENT.length) return void response.writeHead(416).end();
    const range = `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}`;
    response.writeHead(206, { 'content-range': range, 'content-length': CONTENT.length - from });
    response.end(CONTENT.subarray(from));
  });
const servePlain = (): Promise<Server> => serve((_request, response) => void response.end(CONTENT));

async function withPart(content: Buffer | string): Promise<Cache> {
  const cache = new Cache(tempDir());
  await mkdir(join(cache.root, 'sources'));
  await writeFile(join(cache.root, 'sources', `sha256-${SHA256}.part`), content);
  return cache;
}

describe('fetchSource', () => {
  it('fetches once and keeps the file read-only under its checksum', async () => {
    const server = await servePlain();
    const cache = new Cache(tempDir());
    const path = await fetched(cache, [at(server)]);
    expect(path).toBe(join(cache.root, 'sources', `sha256-${SHA256}`));
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o444);
    expect(await fetched(cache, [at(server)])).toBe(path);
    expect(server.requests).toEqual([{ path: '/file', range: undefined }]);
    expect(sourcesIn(cache)).toEqual([`sha256-${SHA256}`]);
  });

  it('prefers the cached file of a later place to a request to an earlier one', async () => {
    const server = await servePlain();
    const cache = new Cache(tempDir());
    const path = await fetched(cache, [at(server)]);
    const both: Place[] = [{ url: `${server.url}/other`, sha256: WRONG }, at(server)];
    expect(await fetched(cache, both)).toBe(path);
    expect(server.requests).toHaveLength(1);
  });

  it('replaces a damaged file in the cache', async () => {
    const server = await servePlain();
    const cache = new Cache(tempDir());
    const path = await fetched(cache, [at(server)]);
    await chmod(path, 0o644);
    await writeFile(path, 'damaged');
    expect(readFileSync(await fetched(cache, [at(server)])).equals(CONTENT)).toBe(true);
    expect(server.requests).toHaveLength(2);
  });

  it('checks SHA-512 as well', async () => {
    const server = await servePlain();
    const sha512 = createHash('sha512').update(CONTENT).digest('hex');
    const path = await fetched(new Cache(tempDir()), [{ url: `${server.url}/file`, sha512 }]);
    expect(path).toMatch(/sha512-[0-9a-f]{64}$/);
    const lines = await failureOf(new Cache(tempDir()), [{ url: `${server.url}/file`, sha512: 'f'.repeat(128) }]);
    expect(lines).toContain(`wrong sha512: expected ${'f'.repeat(128)}, got ${sha512}`);
  });

  it('tries the places in order and names the failure of each if none works', async () => {
    const server = await serve((request, response) => {
      if (request.url === '/good') response.end(CONTENT);
      else if (request.url === '/wrong') response.end('wrong');
      else response.writeHead(404).end('not here');
    });
    const places = [at(server, '/missing'), at(server, '/wrong')];
    expect(readFileSync(await fetched(new Cache(tempDir()), [...places, at(server, '/good')])).equals(CONTENT)).toBe(
      true,
    );
    expect(server.requests.map(({ path }) => path)).toEqual(['/missing', '/wrong', '/good']);

    const cache = new Cache(tempDir());
    const closed = await closedPort();
    const all: Place[] = [
      ...places,
      { url: `http://localhost:${closed}/`, sha256: SHA256 },
      { url: 'nonsense', sha256: SHA256 },
    ];
    const lines = (await failureOf(cache, all)).split('\n');
    expect(lines).toEqual([
      `${server.url}/missing: HTTP status 404`,
      `${server.url}/wrong: wrong sha256: expected ${SHA256}, got ${sha256('wrong')}`,
      expect.stringMatching(/^http:\/\/localhost:\d+\/: .*ECONNREFUSED/),
      expect.stringMatching(/^nonsense: .*Invalid URL/i),
    ]);
    expect(sourcesIn(cache)).toEqual([]); // a wrong file is not kept
  });

  it('resumes an earlier download where it stopped', async () => {
    const server = await serveRanges();
    const cache = await withPart(CONTENT.subarray(0, 1000));
    expect(readFileSync(await fetched(cache, [at(server)])).equals(CONTENT)).toBe(true);
    expect(server.requests).toEqual([{ path: '/file', range: 'bytes=1000-' }]);
    expect(sourcesIn(cache)).toEqual([`sha256-${SHA256}`]);
  });

  it('resumes the same download when the connection breaks', async () => {
    const cache = new Cache(tempDir());
    const server = await serve((request, response) => {
      if (request.headers.range === undefined) return truncated(response, received(cache, 1000));
      response.writeHead(206, { 'content-length': CONTENT.length - 1000 });
      response.end(CONTENT.subarray(Number(/\d+/.exec(request.headers.range)?.[0])));
    });
    expect(readFileSync(await fetched(cache, [at(server)])).equals(CONTENT)).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, 'bytes=1000-']);
  });

  it('starts again if the server does not support ranges', async () => {
    const cache = await withPart(CONTENT.subarray(0, 1000));
    expect(readFileSync(await fetched(cache, [at(await servePlain())])).equals(CONTENT)).toBe(true);
  });

  it.each([
    ['of another file', 'x'.repeat(1000)],
    ['of a longer file', 'x'.repeat(CONTENT.length + 1)],
    ['of another file of the same length', 'x'.repeat(CONTENT.length)],
  ])('starts again if the earlier part is %s', async (_name, content) => {
    const cache = await withPart(content);
    expect(readFileSync(await fetched(cache, [at(await serveRanges())], CONTENT.length)).equals(CONTENT)).toBe(true);
  });

  it('accepts a part that is already complete', async () => {
    const server = await serveRanges();
    expect(readFileSync(await fetched(await withPart(CONTENT), [at(server)])).equals(CONTENT)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  it('starts again if the server sends another range than requested', async () => {
    const server = await serve((request, response) => {
      if (request.headers.range === undefined) response.end(CONTENT);
      else response.writeHead(206, { 'content-range': `bytes 0-9/${CONTENT.length}` }).end(CONTENT.subarray(0, 10));
    });
    const cache = await withPart(CONTENT.subarray(0, 1000));
    expect(readFileSync(await fetched(cache, [at(server)])).equals(CONTENT)).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual(['bytes=1000-', undefined]);
  });

  it('starts again if the part exceeds the allowed size', async () => {
    const server = await serve((request, response) => {
      if (request.headers.range === undefined) return void response.end(CONTENT);
      response.writeHead(206).end(CONTENT); // whatever the range was
    });
    const cache = await withPart(CONTENT.subarray(0, 1000));
    expect(readFileSync(await fetched(cache, [at(server)], CONTENT.length)).equals(CONTENT)).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual(['bytes=1000-', undefined]);
  });

  it('reports a body that always breaks off, and keeps the received bytes', async () => {
    const server = await serve((_request, response) => truncated(response));
    const cache = new Cache(tempDir());
    expect(await failureOf(cache, [at(server)])).toMatch(
      /: (other side closed|terminated|aborted|.*(socket|ECONNRESET).*)/i,
    );
    expect(server.requests.length).toBe(3);
    expect(sourcesIn(cache)).toEqual([`sha256-${SHA256}.part`]);
  });

  it('cuts off a body that is too long and keeps nothing of it', async () => {
    const cache = new Cache(tempDir());
    const lines = await failureOf(cache, [at(await servePlain())], 1000);
    expect(lines).toContain('longer than the 1000 bytes allowed for it');
    expect(sourcesIn(cache)).toEqual([]);
  });

  it('follows redirects to HTTP only, and a limited number of them', async () => {
    const server = await serve((request, response) => {
      const to: Record<string, string> = { '/moved': '/file', '/leak': 'file:///etc/passwd', '/circle': '/circle' };
      const location = to[request.url ?? ''];
      if (location === undefined) response.end(CONTENT);
      else response.writeHead(302, { location }).end();
    });
    expect(readFileSync(await fetched(new Cache(tempDir()), [at(server, '/moved')])).equals(CONTENT)).toBe(true);
    const lines = await failureOf(new Cache(tempDir()), [at(server, '/leak'), at(server, '/circle')]);
    expect(lines).toContain('redirected to file:///etc/passwd, which is not HTTP');
    expect(lines).toContain('more than 5 redirects');
  });

  it('tries again after a server error', async () => {
    let times = 0;
    const server = await serve((_request, response) => {
      if (times++ === 0) response.writeHead(503).end();
      else response.end(CONTENT);
    });
    const said: string[] = [];
    const options = { ...quiet, progress: (line: string) => void said.push(line) };
    await fetchSource(new Cache(tempDir()), source([at(server)]), options);
    expect(said).toEqual([
      `fetching code 1.0 from ${server.url}/file`,
      'HTTP status 503; trying again',
      '47.7 KiB of 47.7 KiB',
    ]);
  });

  it('fetches once for two concurrent callers', async () => {
    const server = await servePlain();
    const cache = new Cache(tempDir());
    await Promise.all([1, 2, 3].map(() => fetched(cache, [at(server)])));
    expect(server.requests).toHaveLength(1);
  });

  it('stops when it is interrupted, while receiving and while waiting for the lock', async () => {
    const abort = new AbortController();
    const server = await serve((_request, response) => {
      response.write('begin');
      setTimeout(() => abort.abort(new InterruptedError()), 50);
    });
    const options = { signal: abort.signal, progress: () => undefined };
    const cache = new Cache(tempDir());
    await expect(fetchSource(cache, source([at(server), at(server)]), options)).rejects.toThrow(InterruptedError);
    expect(server.requests).toHaveLength(1);
    const later = new AbortController();
    await withLock(cache.lockPath(sourceLockName(SHA256)), {}, async () => {
      setTimeout(() => later.abort(new InterruptedError()), 50);
      const waiting = fetchSource(cache, source([at(server)]), { ...options, signal: later.signal });
      await expect(waiting).rejects.toThrow(InterruptedError);
    });
  });
});

describe('an npm package', () => {
  it('is fetched with npm and verified', { timeout: 300_000, retry: 2 }, async () => {
    const sha512 =
      'e350a27e483a7bc4f2952a5db53a5e2d532abd20445734edb47bc4443ef8d7ea6767c00dbf4d34e0c44be3740a3c394af5c1af369e8d6566540656c65d8c719e';
    const cache = new Cache(tempDir());
    const path = await fetched(cache, [{ npm: { package: 'is-number', version: '7.0.0' }, sha512 }]);
    expect(existsSync(path)).toBe(true);
    expect([namesIn(join(cache.root, 'tmp')), sourcesIn(cache)]).toEqual([[], [`sha512-${sha512.slice(0, 64)}`]]);
  });
});

/** Announces the whole content, sends 1000 bytes, and hangs up after `when`. */
function truncated(response: ServerResponse, when: Promise<void> = Promise.resolve()): void {
  response.writeHead(200, { 'content-length': CONTENT.length });
  response.write(CONTENT.subarray(0, 1000), () => void when.then(() => response.socket?.end()));
}

/** Resolves when the file has this many bytes. Bytes still in flight are lost when a connection breaks. */
async function received(cache: Cache, bytes: number): Promise<void> {
  const part = join(cache.root, 'sources', `sha256-${SHA256}.part`);
  while (!existsSync(part) || statSync(part).size < bytes) await sleep(5);
}

/** A port of this host with no listener. */
function closedPort(): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(String(typeof address === 'object' ? address?.port : '')));
    });
  });
}
