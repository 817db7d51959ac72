import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BlobCache, credentialsFor, openImage, parseMirror, Repository, type ImageOptions } from '../index.js';
import { badRegistry, type BadRegistry } from './bad-registry.js';
import { layoutOf, tarOf } from './images.js';
import { listingOfTree, type Listing } from './judges.js';

const signal = new AbortController().signal;
let root = '';
let layout = '';
let expected: Listing = {};
let registry: BadRegistry;
let other: BadRegistry;
let caches = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodeos-registry-'));
  // Larger than what sockets hold, and nothing that could be packed.
  layout = await layoutOf(join(root, 'layout'), [tarOf([{ path: 'a', content: randomBytes(3 << 20) }])]);
  expected = await listing(`oci:${layout}`);
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  registry = await badRegistry(layout);
  other = await badRegistry(layout);
});
afterEach(async () => {
  await registry.close();
  await other.close();
});

const freshCache = (): BlobCache => new BlobCache(join(root, `cache-${caches++}`));

async function listing(name: string, more: Partial<ImageOptions> = {}): Promise<Listing> {
  const image = await openImage(name, {
    cache: freshCache(),
    signal,
    credentials: () => Promise.resolve(undefined),
    ...more,
  });
  const tree = await image.tree();
  try {
    return await listingOfTree(tree.entries());
  } finally {
    await tree.close();
  }
}

const app = (): string => `docker://${registry.host}/some/app:1`;
const isLayer = (url = '', content: Buffer): boolean => url.includes('/blobs/') && content.length > 1 << 20;

describe('a registry', () => {
  it('is never asked for a blob by HEAD, and once for each', async () => {
    expect(await listing(app())).toEqual(expected);
    expect(registry.requests.map((one) => one.split(' ')[0])).toEqual(['GET', 'GET', 'GET']);
  });

  it('that breaks off is asked for the rest', async () => {
    const ranges: (string | undefined)[] = [];
    registry.trick = ({ url, headers }, response, content) => {
      if (!isLayer(url, content)) return false;
      ranges.push(headers.range);
      if (headers.range !== undefined) return false;
      response.writeHead(200, { 'content-length': String(content.length) });
      response.write(content.subarray(0, 2 << 20), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    expect(await listing(app())).toEqual(expected);
    expect(ranges).toHaveLength(2);
    expect(Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1])).toBeGreaterThan(1 << 20);
  });

  it('that knows no ranges sends all of it again', async () => {
    let times = 0;
    registry.trick = ({ url }, response, content) => {
      if (!isLayer(url, content)) return false;
      response.writeHead(200, { 'content-length': String(content.length) });
      if (times++ > 0) response.end(content);
      else response.write(content.subarray(0, 2 << 20), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    expect(await listing(app())).toEqual(expected);
    expect(times).toBe(2);
  });

  it('is asked for the rest by the next process, too', async () => {
    const cache = freshCache();
    registry.trick = ({ url }, response, content) => {
      if (!isLayer(url, content)) return false;
      response.writeHead(200, { 'content-length': String(content.length) });
      response.write(content.subarray(0, 2 << 20), () => setTimeout(() => stop.abort(), 50));
      return true;
    };
    const stop = new AbortController();
    await expect(listing(app(), { cache, signal: stop.signal })).rejects.toThrow(/abort/i);
    expect(await readdir(join(cache.root, 'partial/sha256'))).toHaveLength(1);
    let range: string | undefined;
    registry.trick = ({ url, headers }, _, content) => {
      if (isLayer(url, content)) range = headers.range;
      return false;
    };
    expect(await listing(app(), { cache: new BlobCache(cache.root) })).toEqual(expected);
    expect(range).toMatch(/^bytes=\d{6,}-$/);
    expect(await readdir(join(cache.root, 'partial/sha256'))).toEqual([]);
  });

  it('is asked by several at once, who share a cache', async () => {
    const cache = freshCache();
    const all = await Promise.all(
      Array.from({ length: 4 }, () => listing(app(), { cache: new BlobCache(cache.root) })),
    );
    for (const one of all) expect(one).toEqual(expected);
    expect(await readdir(join(cache.root, 'partial/sha256'))).toEqual([]);
    expect(await readdir(join(cache.root, 'unpacked/sha256'))).toHaveLength(1);
  });

  it('that sends another content, more or less of it, is refused, and nothing stays', async () => {
    const tricks: [RegExp, (content: Buffer) => Buffer][] = [
      [/has another content/, (content) => Buffer.concat([content.subarray(1), Buffer.of(0)])],
      [/is longer than/, (content) => Buffer.concat([content, Buffer.of(0)])],
    ];
    for (const [message, change] of tricks) {
      const cache = freshCache();
      registry.trick = ({ url }, response, content) => isLayer(url, content) && Boolean(response.end(change(content)));
      await expect(listing(app(), { cache })).rejects.toThrow(message);
      expect(await readdir(join(cache.root, 'partial/sha256'))).toEqual([]);
    }
    registry.trick = ({ url }, response, content) =>
      isLayer(url, content) && Boolean(response.end(content.subarray(0, 500)));
    await expect(listing(app())).rejects.toThrow(/broke off/);
  });

  it('that sends a manifest without an end is not read to the end', async () => {
    let sent = 0;
    registry.trick = ({ url }, response) => {
      if (!url?.includes('/manifests/')) return false;
      // Node.js 26 does not call a response destroyed whose client has gone.
      const more = (): void => {
        sent += 1 << 20;
        response.write(Buffer.alloc(1 << 20, ' '), (error) => error ?? more());
      };
      more();
      return true;
    };
    await expect(listing(app())).rejects.toThrow(/longer than 4194304 bytes/);
    expect(sent).toBeLessThan(64 << 20);
  });

  it('that redirects in a circle is refused', async () => {
    registry.trick = ({ url }, response) => Boolean(response.writeHead(307, { location: url }).end());
    await expect(listing(app())).rejects.toThrow(/more than 5 redirects/);
  });

  it('whose documents are none says what is wrong', async () => {
    const documents: [string, RegExp][] = [
      ['{', /is no JSON/],
      ['[]', /is no JSON object/],
      ['{"schemaVersion":1}', /schema 1/],
      ['{"schemaVersion":2}', /neither a manifest nor an index/],
      ['{"schemaVersion":2,"layers":[],"manifests":[]}', /neither a manifest nor an index/],
      ['{"schemaVersion":2,"layers":[],"config":{"digest":"sha256:x","size":1}}', /config is no descriptor/],
      [
        `{"schemaVersion":2,"layers":[],"config":{"digest":"sha256:${'0'.repeat(64)}","size":1e12}}`,
        /more than the 8388608/,
      ],
      [
        `{"schemaVersion":2,"layers":[{"digest":"sha256:${'0'.repeat(64)}","size":-1}],"config":{"digest":"sha256:${'0'.repeat(64)}","size":1}}`,
        /layers\[0\] is no descriptor/,
      ],
      ['{"schemaVersion":2,"manifests":[]}', /has no image for linux/],
    ];
    for (const [text, message] of documents) {
      registry.trick = (_, response) => Boolean(response.end(text));
      await expect(listing(app()), text).rejects.toThrow(message);
    }
  });
});

describe('links to another host', () => {
  it('are followed without the credentials, and asked for again when they have expired', async () => {
    const credentials = (): Promise<{ username: string; password: string }> =>
      Promise.resolve({ username: 'u', password: 'p' });
    registry.trick = ({ url, headers }, response, content) => {
      if (headers.authorization === undefined)
        return Boolean(response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end());
      return (
        isLayer(url, content) &&
        Boolean(response.writeHead(307, { location: `http://${other.host}/store${url}` }).end())
      );
    };
    let times = 0;
    other.trick = (_, response) => times++ === 0 && Boolean(response.writeHead(403).end());
    expect(await listing(app(), { credentials })).toEqual(expected);
    expect(other.requests).toHaveLength(2);
    expect(other.requests.join()).not.toContain('+auth');
    expect(registry.requests.filter((one) => one.includes('/blobs/') && one.includes('+auth'))).toHaveLength(3);
  });
});

describe('a login', () => {
  const bearer = (): string => `Bearer realm="http://${other.host}/token",service="s",scope="repository:some/app:pull"`;

  it('by token asks the server of tokens, and again when the token has expired', async () => {
    let tokens = 0;
    registry.trick = ({ headers }, response) =>
      headers.authorization !== `Bearer t${tokens}` &&
      Boolean(response.writeHead(401, { 'www-authenticate': bearer() }).end());
    other.trick = ({ url, headers }, response) => {
      expect(url).toContain('scope=repository%3Asome%2Fapp%3Apull');
      expect(headers.authorization).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`);
      return Boolean(response.end(JSON.stringify({ token: `t${++tokens}` })));
    };
    const credentials = (): Promise<{ username: string; password: string }> =>
      Promise.resolve({ username: 'u', password: 'p' });
    const cache = freshCache();
    const image = await openImage(app(), { cache, signal, credentials });
    expect(tokens).toBe(1);
    tokens = 7; // The first one is not taken any more.
    const tree = await image.tree();
    expect(await listingOfTree(tree.entries())).toEqual(expected);
    await tree.close();
    expect(tokens).toBe(8);
  });

  it('with an identity token exchanges it', async () => {
    const credentials = (): Promise<{ username: string; password: string; isIdentityToken: true }> =>
      Promise.resolve({ username: '', password: 'refresh', isIdentityToken: true });
    registry.trick = ({ headers }, response) =>
      headers.authorization !== 'Bearer new' &&
      Boolean(response.writeHead(401, { 'www-authenticate': bearer() }).end());
    let form = '';
    other.trick = (request, response) => {
      request
        .on('data', (bytes: Buffer) => (form += bytes.toString()))
        .on('end', () => response.end('{"access_token":"new"}'));
      return request.method === 'POST';
    };
    expect(await listing(app(), { credentials })).toEqual(expected);
    expect(Object.fromEntries(new URLSearchParams(form))).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'refresh',
    });
  });

  it('that is refused says how to log in', async () => {
    registry.trick = (_, response) => Boolean(response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end());
    await expect(listing(app())).rejects.toMatchObject({ hint: `skopeo login ${registry.host}` });
  });
});

describe('mirrors', () => {
  it('are asked first, and the registry where they fail', async () => {
    const mirrors = [parseMirror(`${registry.host}/some=${other.host}/copy/of`)];
    expect(await listing(app(), { mirrors })).toEqual(expected);
    expect(registry.requests).toEqual([]);
    expect(other.requests[0]).toBe('GET /v2/copy/of/app/manifests/1');
    other.trick = ({ url }, response, content) => isLayer(url, content) && Boolean(response.writeHead(500).end());
    expect(await listing(app(), { mirrors })).toEqual(expected);
    expect(registry.requests).toHaveLength(1);
  });
});

describe('credentials', () => {
  const auth = (text: string): { auth: string } => ({ auth: Buffer.from(text).toString('base64') });

  it('come from auth.json by the longest name, then from config.json, then from a program', async () => {
    const home = await mkdtemp(join(root, 'home-'));
    const bin = join(home, 'bin');
    for (const folder of ['.config/containers', '.docker', 'bin']) await mkdir(join(home, folder), { recursive: true });
    await writeFile(
      join(home, '.config/containers/auth.json'),
      JSON.stringify({ auths: { 'a.example': auth('one:1'), 'a.example/team': auth('two:2:3') } }),
    );
    await writeFile(
      join(home, '.docker/config.json'),
      JSON.stringify({
        auths: { 'https://b.example/v1/': auth('three:3'), 'https://index.docker.io/v1/': { identitytoken: 'four' } },
        credHelpers: { 'c.example': 'test', 'd.example': 'missing' },
      }),
    );
    await writeFile(
      join(bin, 'docker-credential-test'),
      '#!/bin/sh\nread server\n[ "$1 $server" = "get c.example" ] && echo \'{"ServerURL":"c.example","Username":"five","Secret":"5"}\' || { echo credentials not found in native keychain; exit 1; }\n',
    );
    await chmod(join(bin, 'docker-credential-test'), 0o755);
    const before = process.env['PATH'];
    process.env['PATH'] = `${bin}:${before}`;
    const find = (host: string, repository: string): ReturnType<typeof credentialsFor> =>
      credentialsFor(host, repository, { HOME: home, XDG_RUNTIME_DIR: join(home, 'none') });
    try {
      expect(await find('a.example', 'team/app')).toEqual({ username: 'two', password: '2:3' });
      expect(await find('a.example', 'other/app')).toEqual({ username: 'one', password: '1' });
      expect(await find('b.example', 'app')).toEqual({ username: 'three', password: '3' });
      expect(await find('docker.io', 'library/app')).toEqual({ username: '', password: 'four', isIdentityToken: true });
      expect(await find('c.example', 'app')).toEqual({ username: 'five', password: '5' });
      expect(await find('e.example', 'app')).toBeUndefined();
      await expect(find('d.example', 'app')).rejects.toMatchObject({
        hint: expect.stringMatching(/docker-credential-missing/) as string,
      });
    } finally {
      process.env['PATH'] = before;
    }
  });
});

describe('the list of tags', () => {
  type Page = { readonly tags?: unknown; readonly link?: string; readonly text?: string };
  /** @param pages by `last` */
  const listOf = (pages: Readonly<Record<string, Page>>): Promise<string[]> => {
    registry.trick = (request, response) => {
      const last = new URL(request.url ?? '', 'http://registry').searchParams.get('last') ?? '';
      const { tags, link, text } = pages[last] ?? {};
      response.writeHead(200, link === undefined ? {} : { link });
      response.end(text ?? JSON.stringify({ name: 'some/app', tags }));
      return true;
    };
    return new Repository(registry.host, 'some/app').tags(signal);
  };
  const next = (last: string): string => `</v2/some/app/tags/list?last=${last}&n=1000>; rel="next"`;

  it('goes over pages, and has no words that are no tags', async () => {
    const pages = { '': { tags: ['b', '../x', 7, ''], link: next('b') }, b: { tags: ['a', 'c'] } };
    expect(await listOf(pages)).toEqual(['a', 'b', 'c']);
    expect(await listOf({ '': { tags: null } })).toEqual([]);
  });

  it('is bounded, and never goes on elsewhere', async () => {
    await expect(
      listOf({ '': { tags: [], link: '<http://other.example/v2/x/tags/list>; rel="next"' } }),
    ).rejects.toThrow(/goes on elsewhere/);
    await expect(listOf({ '': { text: `"${'x'.repeat(5 << 20)}"` } })).rejects.toThrow(
      /a page of more than 4194304 bytes/,
    );
    await expect(listOf({ '': { text: '[1]' } })).rejects.toThrow(/no JSON object/);
    await expect(listOf({ '': { tags: {} } })).rejects.toThrow(/is no list/);
    const many = Array.from({ length: 9000 }, (_, number) => `t${number}`);
    const more = many.map((tag) => `${tag}x`);
    await expect(listOf({ '': { tags: many, link: next('t') }, t: { tags: more, link: next('t') } })).rejects.toThrow(
      /longer than 10000/,
    );
  });

  it('and the deletion of a manifest that is allowed, was done, is not offered, or is forbidden', async () => {
    const answer = async (status: number): Promise<string> => {
      registry.trick = (request, response) => {
        response.writeHead(request.method === 'DELETE' ? status : 500).end();
        return true;
      };
      return new Repository(registry.host, 'some/app').deleteManifest(`sha256:${'ab'.repeat(32)}`, signal);
    };
    expect(await answer(202)).toBe('deleted');
    expect(await answer(404)).toBe('missing');
    expect(await answer(405)).toBe('refused');
    await expect(answer(403)).rejects.toThrow(/does not delete the manifest .*: HTTP status 403/);
  });
});
