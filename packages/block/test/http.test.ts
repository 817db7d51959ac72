import type { RequestListener } from 'node:http';
import { describe, expect, it } from 'vitest';
import { http, retry } from '../index.js';
import { errorOf, noise, ranges, readAll, serve } from './helpers.js';

const content = noise(10_000, 1);

async function served<T>(listener: RequestListener, work: (url: string) => Promise<T>): Promise<T> {
  const { url, close } = await serve(listener);
  return work(url).finally(close);
}

/** Answers the first request correctly, and all others by `then`. */
function later(then: RequestListener): RequestListener {
  let count = 0;
  return (request, response) => (count++ === 0 ? ranges(content)(request, response) : then(request, response));
}

const partial = { etag: '"one"', 'content-range': 'bytes 0-99/10000' };

describe('http', () => {
  it('reads ranges', async () => {
    await served(ranges(content), async (url) => {
      const device = await http(url);
      expect(Buffer.compare(await readAll(device), content)).toBe(0);
      expect(device.version).toBe('"one"');
      const into = new Uint8Array(100);
      await device.read(into, 9900);
      expect(into).toEqual(content.subarray(9900));
      await device.close();
    });
  });

  it('follows redirects and sends headers', async () => {
    const seen: (string | undefined)[] = [];
    const listener: RequestListener = (request, response) => {
      seen.push(request.headers['x-token'] as string | undefined);
      if (request.url === '/file') ranges(content)(request, response);
      else response.writeHead(302, { location: '/file' }).end();
    };
    await served(listener, async (url) => {
      const device = await http(url, { headers: { 'x-token': 'secret' } });
      expect(Buffer.compare(await readAll(device), content)).toBe(0);
      expect(seen).toEqual(['secret', 'secret', 'secret', 'secret']);
      await device.close();
    });
  });

  it('opens an empty file, and reads without Content-Length', async () => {
    await served(ranges(new Uint8Array(0)), async (url) => expect((await http(url)).size).toBe(0));
    const chunked: RequestListener = (_request, response) => {
      response.writeHead(206, { ...partial, 'transfer-encoding': 'chunked' });
      response.write(content.subarray(0, 30));
      response.end(content.subarray(30, 100));
    };
    await served(later(chunked), async (url) => {
      const into = new Uint8Array(100);
      await (await http(url)).read(into, 0);
      expect(into).toEqual(content.subarray(0, 100));
    });
  });

  it('uses Last-Modified if there is no strong ETag', async () => {
    let changed = 'Tue, 01 Jan 2030 00:00:00 GMT';
    const asked: (string | undefined)[] = [];
    const listener: RequestListener = (request, response) => {
      asked.push(request.headers['if-unmodified-since'], request.headers['if-match']);
      const [, from, to] = /(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(206, { 'last-modified': changed, 'content-range': `bytes ${from ?? ''}-${to ?? ''}/10000` });
      response.end(content.subarray(Number(from), Number(to) + 1));
    };
    await served(listener, async (url) => {
      const device = await http(url);
      expect(device.version).toBe(changed);
      await device.read(new Uint8Array(10), 0);
      expect(asked).toEqual([undefined, undefined, changed, undefined]);
      changed = 'Tue, 01 Jan 2030 00:00:01 GMT';
      expect((await errorOf(() => device.read(new Uint8Array(10), 0))).code).toBe('ESTALE');
    });
  });

  it.each<[what: string, listener: RequestListener, code: string, message: RegExp, transient: boolean]>([
    ['ignores ranges', (_, response) => void response.end(content), 'ENOTSUP', /does not support range/, false],
    ['has it not', (_, response) => void response.writeHead(404).end(), 'ENOENT', /404: not there/, false],
    ['forbids it', (_, response) => void response.writeHead(403).end(), 'EACCES', /403/, false],
    ['is busy', (_, response) => void response.writeHead(503).end(), 'EIO', /503/, true],
    ['says too often', (_, response) => void response.writeHead(429).end(), 'EIO', /429/, true],
    ['hangs up', (request) => void request.socket.destroy(), 'UND_ERR_SOCKET|ECONNRESET|EIO', /bytes=0-0: /, true],
    [
      'says no version',
      (_, response) => void response.writeHead(206, { 'content-range': 'bytes 0-0/5' }).end('x'),
      'ENOTSUP',
      /neither ETag nor/,
      false,
    ],
    [
      'compresses',
      (_, response) => void response.writeHead(206, { ...partial, 'content-encoding': 'gzip' }).end(),
      'ENOTSUP',
      /encoded \(gzip\)/,
      false,
    ],
  ])('is not opened if the server %s', async (_what, listener, code, message, transient) => {
    await served(listener, async (url) => {
      const error = await errorOf(() => http(url));
      expect(error.code).toMatch(new RegExp(`^(${code})$`));
      expect(error.message).toMatch(message);
      expect(error.message).toContain(url);
      expect(error.transient).toBe(transient);
    });
  });

  const cut: RequestListener = (_, response) => {
    response.writeHead(206, { ...partial, 'content-length': 100 });
    response.write(content.subarray(0, 50), () => response.destroy());
  };
  const endless: RequestListener = (_, response) => {
    response.writeHead(206, partial);
    // Node.js 26 does not call a response destroyed whose client has gone.
    const more = (): void => void response.write(content, (error) => error ?? setImmediate(more));
    more();
  };
  it.each<[what: string, listener: RequestListener, code: string, message: RegExp, transient: boolean]>([
    ['is refused as changed', ranges(content, '"two"'), 'ESTALE', /412: changed since/, false],
    [
      'is of another ETag',
      (_, response) => void response.writeHead(206, { ...partial, etag: '"two"' }).end(content.subarray(0, 100)),
      'ESTALE',
      /"one" of 10000 bytes, now "two"/,
      false,
    ],
    [
      'is of another size',
      (_, response) => void response.writeHead(206, { ...partial, 'content-range': 'bytes 0-99/999' }).end(),
      'ESTALE',
      /now "one" of 999 bytes/,
      false,
    ],
    [
      'is of another range',
      (_, response) => void response.writeHead(206, { ...partial, 'content-range': 'bytes 1-100/10000' }).end(),
      'EIO',
      /of another range: bytes 1-100/,
      false,
    ],
    [
      'has no Content-Range',
      (_, response) => void response.writeHead(206, { etag: '"one"' }).end(),
      'EIO',
      /no Content-Range/,
      false,
    ],
    [
      'is shorter',
      (_, response) => void response.writeHead(206, partial).end('short'),
      'EIO',
      /ended after 5 bytes/,
      true,
    ],
    ['breaks off', cut, '[A-Z_]+', /bytes=0-99/, true],
    ['is longer', endless, 'EIO', /longer than the range/, false],
    ['is the whole file', (_, response) => void response.end(content), 'ENOTSUP', /does not support/, false],
  ])('refuses an answer that %s', async (_what, listener, code, message, transient) => {
    await served(later(listener), async (url) => {
      const device = await http(url);
      const error = await errorOf(() => device.read(new Uint8Array(100), 0));
      expect(error.code).toMatch(new RegExp(`^(${code})$`));
      expect(error.message).toMatch(message);
      expect(error.transient).toBe(transient);
    });
  });

  it('gives up on a silent server, and when it is closed', async () => {
    await served(
      later(() => undefined),
      async (url) => {
        const device = await http(url, { timeout: 1000 });
        const error = await errorOf(() => device.read(new Uint8Array(100), 0));
        expect([error.code, error.transient]).toEqual(['ETIMEDOUT', true]);
      },
    );
    await served(
      later(() => undefined),
      async (url) => {
        const device = await http(url);
        const error = errorOf(() => device.read(new Uint8Array(100), 0));
        await device.close();
        expect(await error).toMatchObject({ code: 'ECANCELED', transient: false });
      },
    );
  });

  it('succeeds with retry', async () => {
    let count = 0;
    const listener: RequestListener = (request, response) => {
      if (count++ % 3 === 0) ranges(content)(request, response);
      else if (count % 3 === 0) response.writeHead(503).end();
      else request.socket.destroy();
    };
    await served(listener, async (url) => {
      const device = retry(await http(url), { delay: 1 });
      for (let at = 0; at < 10; at++) {
        const into = new Uint8Array(1000);
        await device.read(into, at * 1000);
        expect(into).toEqual(content.subarray(at * 1000, (at + 1) * 1000));
      }
      expect(count).toBe(31);
    });
  });
});
