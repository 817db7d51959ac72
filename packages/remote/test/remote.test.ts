import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  build,
  Cache,
  listTree,
  makeKeyPair,
  planOf,
  resolvePlan,
  push,
  rebuild,
  sealManifest,
  signingKey,
  silent,
  type BuildEvent,
  type Built,
  type RemoteCache,
  type Step,
} from '@nodeos/engine';
import { stepOf, target } from '../../engine/test/helpers.js';
import { remoteCache } from '../index.js';
import { startRegistry, type Registry } from './registry.js';

const { privateKey, publicKey } = makeKeyPair();
const other = makeKeyPair();
const key = signingKey(privateKey);
const signal = new AbortController().signal;
const PATIENCE = { silence: 400, rate: 64 << 10, grace: 1000 };

let root = '';
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), 'nodeos-remote-'))));
afterAll(() => rm(root, { recursive: true, force: true }));

let folders = 0;
const fresh = async (): Promise<string> => {
  const path = join(root, String(folders++));
  await mkdir(path);
  return path;
};

/** A tool whose version changes with the machine. */
function toolOf(folder: string, version: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'nodeos-test-tool'), `#!/bin/sh\necho ${version}\n`);
  chmodSync(join(folder, 'nodeos-test-tool'), 0o755);
}

/** Two steps, the second made from the first, with every kind of file; and how often each was built. */
function stepsOf(more: Partial<Step> = {}): { first: Step; second: Step; built: string[] } {
  const built: string[] = [];
  const first = stepOf('first', async (context) => {
    built.push('first');
    await writeFile(join(context.dir, 'library'), 'x'.repeat(100_000));
  });
  const second = stepOf(
    'second',
    async (context) => {
      built.push('second');
      await mkdir(join(context.dir, 'bin/empty'), { recursive: true });
      await writeFile(join(context.dir, 'bin/program'), '#!/bin/sh\n', { mode: 0o755 });
      await writeFile(join(context.dir, 'nothing'), '');
      await writeFile(join(context.dir, 'zz'), await readFile(join(context.input('first'), 'library')));
      await symlink('bin/program', join(context.dir, 'run'));
    },
    { inputs: { first }, ...more },
  );
  return { first, second, built };
}

const filesOf = async ({ output }: Built): Promise<object[]> =>
  (await listTree(output)).map((file) => ({ ...file, mtime: 0 }));

/** Builds on a machine of its own. */
async function buildOn(cache: Cache, wanted: Step, remotes: readonly RemoteCache[], trusted: readonly string[]) {
  const events: BuildEvent[] = [];
  const progress = { event: (event: BuildEvent) => void events.push(event), close: () => Promise.resolve() };
  const sharing = { remotes, trusted, patience: PATIENCE };
  const { steps } = await build([wanted], { cache, progress, jobs: 2, sharing, signal });
  const notes = events.flatMap((event) => (event.type === 'note' ? [event.message] : []));
  return { built: steps[0] as Built, notes, events };
}

async function pushAll(cache: Cache, wanted: Step, remote: RemoteCache, by = key): Promise<number[]> {
  const { steps: all } = await resolvePlan(cache, [wanted], { all: true });
  const sizes = [];
  for (const item of all) sizes.push((await push(cache, item, remote, { key: by, signal })).bytes);
  return sizes;
}

async function serve(listener: RequestListener): Promise<{ url: string; close: () => void }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close };
}

/** A web server of a folder that takes PUT. */
const files =
  (folder: string): RequestListener =>
  (request, response) => {
    const path = join(folder, decodeURIComponent(new URL(request.url ?? '', 'http://x').pathname));
    const body: Buffer[] = [];
    request.on('data', (chunk: Buffer) => body.push(chunk));
    request.on('end', () => {
      if (request.method === 'PUT') {
        mkdirSync(join(path, '..'), { recursive: true });
        writeFileSync(path, Buffer.concat(body));
        return void response.writeHead(200, { etag: '"x"' }).end();
      }
      try {
        const content = readFileSync(path);
        response.writeHead(200).end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
  };

describe('every kind of remote cache', () => {
  let registry: Registry | undefined;
  const closing: (() => void)[] = [];
  beforeAll(async () => void (registry = await startRegistry(await fresh())));
  afterAll(async () => {
    for (const close of closing) close();
    await registry?.close();
  });

  it.each<[kind: string, open: () => Promise<string>]>([
    ['a folder', fresh],
    [
      'a web server',
      async () => {
        const server = await serve(files(await fresh()));
        closing.push(server.close);
        return server.url;
      },
    ],
    [
      "Amazon's client",
      async () => {
        const server = await serve(files(await fresh()));
        closing.push(server.close);
        Object.assign(process.env, {
          ...{ AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
          AWS_ENDPOINT_URL: server.url,
        });
        return 's3://bucket/some/prefix';
      },
    ],
    ['a registry of container images', () => Promise.resolve(`oci://${registry?.host ?? ''}/team/nodeos`)],
  ])('%s: what one machine pushes, another does not build', async (_, open) => {
    const remote = remoteCache(await open());
    const [cache, { second, built }] = [new Cache(await fresh()), stepsOf()];
    const own = await build([second], { cache, progress: silent, jobs: 2 });
    expect((await pushAll(cache, second, remote)).every((bytes) => bytes > 0)).toBe(true);
    expect(await pushAll(cache, second, remote)).toEqual([0, 0]); // nothing is stored twice
    built.length = 0;
    const away = await buildOn(new Cache(await fresh()), second, [remote], [publicKey]);
    expect({ built, notes: away.notes }).toEqual({ built: [], notes: [] });
    expect(await filesOf(away.built)).toEqual(await filesOf(own.steps[0] as Built));
    // The first step is an input of what was there, so nobody asked for it.
    expect(away.events.flatMap((event) => (event.type === 'fetch' ? [event.step.name] : []))).toEqual(['second']);
  });

  it('an input that is missing alone is fetched, and the rest built', async () => {
    const [place, cache] = [await fresh(), new Cache(await fresh())];
    const { first, second, built } = stepsOf();
    await build([second], { cache, progress: silent, jobs: 2 });
    const [item] = await planOf(cache, [first]);
    if (item) await push(cache, item, remoteCache(place), { key, signal });
    built.length = 0;
    await buildOn(new Cache(await fresh()), second, [remoteCache(place)], [publicKey]);
    expect(built).toEqual(['second']);
  });

  it('versions of tools do not matter, but for a step that says so', async () => {
    const path = process.env['PATH'];
    const [bin, place] = [await fresh(), await fresh()];
    // A tool's version is asked for once in a process.
    const planned = async (version: string): Promise<string[]> => {
      toolOf(bin, version);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [
          '--input-type=module',
          '--eval',
          `import { Cache, planOf } from ${JSON.stringify(import.meta.resolve('@nodeos/engine'))};
         const step = { name: 's', target: ${JSON.stringify(target)}, recipe: ${JSON.stringify(import.meta.resolve('@nodeos/engine'))},
           tools: ['nodeos-test-tool'], build: () => undefined };
         const [{ key, sharedKey }] = await planOf(new Cache(${JSON.stringify(place)}), [step]);
         console.log(JSON.stringify([key, sharedKey]));`,
        ],
        { env: { ...process.env, PATH: `${bin}:${path ?? ''}` } },
      );
      return JSON.parse(stdout) as string[];
    };
    const [[key1, shared1], [key2, shared2]] = [await planned('1'), await planned('2')] as [string[], string[]];
    expect(key1).not.toBe(key2);
    expect(shared1).toBe(shared2);
    const { second, built } = stepsOf({ isLocal: true });
    const cache = new Cache(await fresh());
    await build([second], { cache, progress: silent, jobs: 2 });
    await pushAll(cache, second, remoteCache(place));
    built.length = 0;
    await buildOn(new Cache(await fresh()), second, [remoteCache(place)], [publicKey]);
    expect(built).toEqual(['second']);
  });
});

describe('a remote cache that cannot be trusted', () => {
  /** A folder with both outputs, and where the second one's files are. */
  async function pushed(by = key): Promise<{ place: string; dir: string; steps: ReturnType<typeof stepsOf> }> {
    const [place, cache, steps] = [await fresh(), new Cache(await fresh()), stepsOf()];
    await build([steps.second], { cache, progress: silent, jobs: 2 });
    await pushAll(cache, steps.second, remoteCache(place), by);
    const target = join(place, 'second', steps.second.target.name);
    const [name = ''] = await readdir(target);
    steps.built.length = 0;
    return { place, dir: join(target, name), steps };
  }

  const manifestOf = (dir: string): { manifest: string; signatures: { key: string; signature: string }[] } =>
    JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as never;
  const rewrite = (dir: string, change: (value: ReturnType<typeof manifestOf>) => unknown): void => {
    const value = manifestOf(dir);
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify(change(value) ?? value));
  };
  const contentsIn = async (dir: string): Promise<string> =>
    join(dir, (await readdir(dir)).find((name) => name.endsWith('.br')) ?? '');
  /** A manifest that the trusted key has signed, and that says something else. */
  const resign = (dir: string, change: (manifest: Record<string, unknown>) => unknown): void => {
    const manifest = JSON.parse(manifestOf(dir).manifest) as Record<string, unknown>;
    change(manifest);
    writeFileSync(join(dir, 'manifest.json'), sealManifest(manifest as never, key));
  };
  const firstFile = (manifest: Record<string, unknown>): Record<string, unknown> =>
    (manifest['files'] as Record<string, unknown>[])[0] as Record<string, unknown>;

  it.each<[what: string, spoil: (dir: string) => unknown, says: RegExp]>([
    ['other bytes', async (dir) => writeFile(await contentsIn(dir), 'another'), /not the \d+ listed/],
    [
      'one bit flipped in the middle',
      async (dir) => {
        const bytes = await readFile(await contentsIn(dir));
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        await writeFile(await contentsIn(dir), bytes);
      },
      /not the \d+ listed|Brotli|another one/,
    ],
    [
      'half of the bytes',
      async (dir) => {
        const bytes = await readFile(await contentsIn(dir));
        await writeFile(await contentsIn(dir), bytes.subarray(0, bytes.length >> 1));
      },
      /not the \d+ listed/,
    ],
    ['more bytes', async (dir) => writeFile(await contentsIn(dir), Buffer.alloc(1 << 20), { flag: 'a' }), /more than/],
    ['contents gone after the manifest', async (dir) => rm(await contentsIn(dir)), /are not there/],
    ['a manifest that is no JSON', (dir) => writeFile(join(dir, 'manifest.json'), 'not'), /not JSON/],
    ['a manifest of another format', (dir) => writeFile(join(dir, 'manifest.json'), '{}'), /no signed manifest/],
    [
      'a wrong signature',
      (dir) =>
        rewrite(dir, ({ signatures }) =>
          signatures.forEach((one) => (one.signature = Buffer.alloc(64).toString('base64'))),
        ),
      /signature does not fit/,
    ],
    ['no signature', (dir) => rewrite(dir, (value) => ({ ...value, signatures: [] })), /not signed by a trusted key/],
    [
      'a manifest changed after signing',
      (dir) => rewrite(dir, (value) => ({ ...value, manifest: value.manifest.replace('"seconds":', '"seconds":1') })),
      /signature does not fit/,
    ],
    ['an old signature, of another key', (dir) => resign(dir, (m) => (m['key'] = '0'.repeat(64))), /of the key 0/],
    ['the manifest of another step', (dir) => resign(dir, (m) => (m['step'] = 'first')), /of the step first/],
    ['a path out of the folder', (dir) => resign(dir, (m) => (firstFile(m)['path'] = '../x')), /none of a file/],
    ['an absolute path', (dir) => resign(dir, (m) => (firstFile(m)['path'] = '/tmp/x')), /none of a file/],
    ['a set-user-ID file', (dir) => resign(dir, (m) => (firstFile(m)['mode'] = 0o4755)), /no permissions/],
    [
      'files within a symbolic link',
      (dir) => resign(dir, (m) => Object.assign(firstFile(m), { type: 'symlink', link: '/' })),
      /folder is not listed/,
    ],
    ['a file twice', (dir) => resign(dir, (m) => (m['files'] as object[]).push(firstFile(m))), /twice/],
    [
      'another checksum of a file',
      (dir) =>
        resign(dir, (m) => {
          for (const file of m['files'] as Record<string, unknown>[])
            if (file['path'] === 'zz') file['sha256'] = '0'.repeat(64);
        }),
      /content of zz is another one/,
    ],
    [
      'a file larger than its contents',
      (dir) =>
        resign(dir, (m) => {
          for (const file of m['files'] as Record<string, unknown>[]) if (file['path'] === 'zz') file['size'] = 1 << 30;
        }),
      /ends within zz/,
    ],
    [
      'a file smaller than its contents',
      (dir) =>
        resign(dir, (m) => {
          for (const file of m['files'] as Record<string, unknown>[]) if (file['path'] === 'zz') file['size'] = 5;
        }),
      /another one|more bytes/,
    ],
  ])('%s: it is named, and not used', async (_, spoil, says) => {
    const { place, dir, steps } = await pushed();
    await spoil(dir);
    const cache = new Cache(await fresh());
    const { built, notes } = await buildOn(cache, steps.second, [remoteCache(place)], [publicKey]);
    expect({ notes, built: steps.built }).toEqual({
      notes: [expect.stringMatching(says)],
      built: ['second'],
    });
    expect(notes[0]).toContain(place);
    expect(await cache.verify(cache.entry(steps.second, built.key))).toBeUndefined();
    expect(await readdir(join(cache.root, 'tmp'))).toEqual([]);
  });

  it('asks the next cache for what one has wrong', async () => {
    const [bad, good] = [await pushed(), await pushed()];
    await writeFile(await contentsIn(bad.dir), 'another');
    const remotes = [bad.place, good.place].map(remoteCache);
    const { notes } = await buildOn(new Cache(await fresh()), good.steps.second, remotes, [publicKey]);
    expect([good.steps.built, notes.length]).toEqual([[], 1]);
  });

  it('uses nothing that only somebody else has signed', async () => {
    const { place, steps } = await pushed(signingKey(other.privateKey));
    const { notes } = await buildOn(new Cache(await fresh()), steps.second, [remoteCache(place)], [publicKey]);
    expect(steps.built).toEqual(['first', 'second']);
    expect(notes.join('\n')).toContain(`not signed by a trusted key, but by ${other.publicKey}`);
  });

  it.each<[what: string, listener: (place: string) => RequestListener, says: RegExp]>([
    ['says nothing', () => () => undefined, /skipped: it has not answered/],
    ['hangs up', () => (request) => void request.socket.destroy(), /skipped/],
    ['fails', () => (_, response) => void response.writeHead(500).end(), /skipped: .*HTTP status 500/],
    [
      'redirects for ever',
      () => (request, response) => void response.writeHead(302, { location: request.url }).end(),
      /skipped: more than 5 redirects/,
    ],
    [
      'redirects to a file',
      () => (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      /skipped: .*not HTTP/,
    ],
    [
      'sends an endless manifest',
      () => (_, response) => {
        const more = (): void => void response.write(Buffer.alloc(1 << 20), () => setImmediate(more));
        more();
      },
      /longer than 64 MiB/,
    ],
    [
      'trickles',
      () => (_, response) => {
        response.write('{');
        const timer = setInterval(() => response.write(' '), 50);
        response.on('close', () => clearInterval(timer));
      },
      /skipped: it is slow/,
    ],
    [
      'stops in the middle of the contents',
      (place) => (request, response) => {
        if (request.url?.endsWith('.json')) return files(place)(request, response);
        response.write('half');
      },
      /skipped: it has not answered/,
    ],
  ])('a server that %s is skipped with one line', async (_, listener, says) => {
    const { place, steps } = await pushed();
    const server = await serve(listener(place));
    try {
      const { notes } = await buildOn(new Cache(await fresh()), steps.second, [remoteCache(server.url)], [publicKey]);
      expect(steps.built.sort()).toEqual(['first', 'second']);
      expect(new Set(notes).size).toBeLessThanOrEqual(2); // one for each step whose manifest is endless
      expect(notes[0]).toMatch(says);
    } finally {
      server.close();
    }
  });

  it('a server that closes its connection while the reader is slow does no harm', async () => {
    const { place, dir, steps } = await pushed();
    // More than the buffers on the way hold, so that the reader has to be slow.
    const huge = Buffer.concat([await readFile(await contentsIn(dir)), Buffer.alloc(8 << 20)]);
    const server = await serve((request, response) => {
      if (request.url?.endsWith('.json')) return files(place)(request, response);
      response.writeHead(200, { connection: 'close' });
      response.end(huge);
    });
    try {
      const { notes } = await buildOn(new Cache(await fresh()), steps.second, [remoteCache(server.url)], [publicKey]);
      expect(notes[0]).toMatch(/more than/);
    } finally {
      server.close();
    }
  });

  it('names of other files, and what they hold, are not printed raw', async () => {
    const { place, dir, steps } = await pushed();
    resign(dir, (m) => (firstFile(m)['path'] = '\u001b[2J/..'));
    const { notes } = await buildOn(new Cache(await fresh()), steps.second, [remoteCache(place)], [publicKey]);
    // eslint-disable-next-line no-control-regex
    expect(notes.join()).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe('rebuild', () => {
  it('compares what is built anew with the cache', async () => {
    const cache = new Cache(await fresh());
    let text = 'one';
    const step = stepOf('changing', (context) => writeFile(join(context.dir, 'file'), text));
    await build([step], { cache, progress: silent, jobs: 1 });
    const [item] = await planOf(cache, [step]);
    if (!item) throw new Error('no plan');
    expect(await rebuild(cache, item, { progress: silent, jobs: 1 })).toBeUndefined();
    text = 'two';
    expect(await rebuild(cache, item, { progress: silent, jobs: 1 })).toBe('the content of file has changed');
    expect(await readFile(join(item.entry.output, 'file'), 'utf8')).toBe('one');
    expect(await readdir(join(cache.root, 'tmp'))).toEqual([]);
  });

  it('a manifest that was changed on the disk is damage', async () => {
    const cache = new Cache(await fresh());
    const step = stepOf('sealed', (context) => writeFile(join(context.dir, 'file'), 'text'));
    const { steps } = await build([step], { cache, progress: silent, jobs: 1 });
    const entry = cache.entry(step, steps[0]?.key ?? '');
    const path = join(entry.path, 'manifest.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"seconds": 0', '"seconds": 9'));
    expect(await cache.verify(entry)).toBe('its manifest has changed');
    await cp(entry.path, await fresh(), { recursive: true });
  });
});
