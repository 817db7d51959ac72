import { execFile, execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRegistry, type Registry } from '../../remote/test/registry.js';
import { BlobCache, openImage, parsePlatform, type ImageOptions } from '../index.js';
import { layoutOf, tarOf } from './images.js';
import { listingOfTree, type Listing } from './judges.js';

const run = promisify(execFile);
const signal = new AbortController().signal;

let root = '';
let registry: Registry;
let layout = '';
let expected: Listing = {};
let caches = 0;
const options = (more: Partial<ImageOptions> = {}): ImageOptions => ({
  cache: new BlobCache(join(root, `cache-${caches++}`)),
  signal,
  ...more,
});

async function listing(name: string, more: Partial<ImageOptions> = {}): Promise<Listing> {
  const image = await openImage(name, options(more));
  const tree = await image.tree();
  try {
    return await listingOfTree(tree.entries());
  } finally {
    await tree.close();
    await image.close();
  }
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodeos-sources-'));
  await mkdir(join(root, 'registry'));
  registry = await startRegistry(join(root, 'registry'));
  const first = tarOf([
    { path: 'etc/' },
    { path: 'etc/a', content: 'a'.repeat(300_000), mtime: 5 },
    { path: 'etc/b', kind: '1', link: 'etc/a' },
  ]);
  const second = tarOf([{ path: 'etc/.wh.a' }, { path: 'c', content: 'c', uid: 3_000_000 }]);
  layout = await layoutOf(join(root, 'layout'), [first, second], { config: { Cmd: ['/bin/sh'], Env: ['A=1'] } });
  expected = await listing(`oci:${layout}:latest`);
});
afterAll(async () => {
  await registry.close();
  await rm(root, { recursive: true, force: true });
});

const skopeo = (to: string, ...more: string[]): Promise<unknown> =>
  run('skopeo', [
    'copy',
    '--quiet',
    '--insecure-policy',
    '--dest-tls-verify=false',
    ...more,
    `oci:${layout}:latest`,
    to,
  ]);

describe('images', () => {
  it('have the files of their layers', () => {
    expect(Object.keys(expected)).toEqual(['', 'c', 'etc', 'etc/b']);
    expect(expected['c']).toContain('3000000:0');
  });

  it('come from a registry, in the forms of OCI and of Docker', async () => {
    for (const format of ['oci', 'v2s2']) {
      await skopeo(`docker://${registry.host}/app:${format}`, '--format', format);
      expect(await listing(`docker://${registry.host}/app:${format}`)).toEqual(expected);
    }
  });

  it('come from a registry by digest', async () => {
    await skopeo(`docker://${registry.host}/app:by-digest`);
    const image = await openImage(`docker://${registry.host}/app:by-digest`, options());
    const other = await openImage(`docker://${registry.host}/app@${image.digest}`, options());
    expect(other.config).toEqual(image.config);
    expect(other.config.config).toMatchObject({ Cmd: ['/bin/sh'], Env: ['A=1'] });
    const none = `docker://${registry.host}/app@sha256:${'0'.repeat(64)}`;
    await expect(openImage(none, options())).rejects.toThrow(/has no sha256:0000/);
  });

  it('come from archives of both kinds, as they are and compressed', async () => {
    for (const kind of ['oci-archive', 'docker-archive']) {
      const file = join(root, `${kind}.tar`);
      await skopeo(`${kind}:${file}:app:1`);
      expect(await listing(`${kind}:${file}`)).toEqual(expected);
      await writeFile(`${file}.gz`, gzipSync(await readFile(file)));
      expect(await listing(`${kind}:${file}.gz`)).toEqual(expected);
    }
    const named = `docker-archive:${join(root, 'docker-archive.tar')}`;
    expect(await listing(`${named}:docker.io/library/app:1`)).toEqual(expected);
    await expect(listing(`${named}:other:1`)).rejects.toMatchObject({ hint: 'it has docker.io/library/app:1' });
  });

  it('come from an archive of an older Docker, with links to layers and names of folders', async () => {
    const tars = await Promise.all((await layersIn(layout)).map(async (blob) => gunzipSync(await readFile(blob))));
    const config = await configIn(layout);
    const archive = tarOf([
      { path: 'config.json', content: config },
      { path: 'one.tar', content: tars[0] ?? '' },
      { path: 'first/layer.tar', kind: '2', link: '../one.tar' },
      { path: 'second/layer.tar', content: tars[1] ?? '' },
      {
        path: 'manifest.json',
        content: JSON.stringify([
          { Config: 'config.json', RepoTags: null, Layers: ['first/layer.tar', 'second/layer.tar'] },
        ]),
      },
    ]);
    await writeFile(join(root, 'old.tar'), archive);
    expect(await listing(`docker-archive:${join(root, 'old.tar')}`)).toEqual(expected);
  });

  it('have layers without compression, by gzip of several members, and by zstd', async () => {
    const tars = await Promise.all((await layersIn(layout)).map(async (blob) => gunzipSync(await readFile(blob))));
    const half = (tar: Buffer): Buffer => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]);
    const zstd = (tar: Buffer): Buffer => execFileSync('zstd', ['-q', '-c'], { input: tar });
    const packs: ((tar: Buffer) => Buffer)[] = [(tar) => tar, half, zstd];
    for (const [index, pack] of packs.entries())
      expect(await listing(`oci:${await layoutOf(join(root, `packed-${index}`), tars, { pack })}`)).toEqual(expected);
  });

  it.each([
    ['xz', 'xz'],
    ['bzip2', 'bzip2'],
  ])('that have layers of %s are refused, and the message says so', async (name, program) => {
    const pack = (tar: Buffer): Buffer => execFileSync(program, ['-c'], { input: tar });
    const folder = await layoutOf(join(root, name), [tarOf([{ path: 'a', content: 'a' }])], { pack });
    await expect(listing(`oci:${folder}:latest`)).rejects.toThrow(
      new RegExp(
        `^oci:.*: the layer sha256:[0-9a-f]{64}, unpacked, cannot be read: this is ${name}, which is not supported`,
      ),
    );
  });

  it('are chosen from an index by platform', async () => {
    const two = join(root, 'two');
    await cp(layout, two, { recursive: true });
    const [one] = ((await jsonOf(join(two, 'index.json'))) as { manifests: { digest: string }[] }).manifests;
    const of = (architecture: string, variant?: string): object => ({
      ...one,
      annotations: {},
      platform: { os: 'linux', architecture, variant },
    });
    const manifests = [
      of('arm', 'v6'),
      of('arm64', 'v8'),
      of('amd64'),
      { ...of('amd64'), platform: { os: 'unknown', architecture: 'unknown' } },
    ];
    await writeFile(join(two, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    // The configuration says amd64, so the choice of another one is known by what it says.
    for (const platform of ['linux/arm/v7', 'linux/arm64'])
      await expect(openImage(`oci:${two}`, options({ platform: parsePlatform(platform) }))).rejects.toThrow(
        /is for linux\/amd64/,
      );
    await expect(openImage(`oci:${two}`, options({ platform: parsePlatform('linux/arm/v5') }))).rejects.toMatchObject({
      message: expect.stringMatching(/has no image for linux\/arm\/v5/) as string,
      hint: 'it has linux/arm/v6, linux/arm64/v8, linux/amd64',
    });
    expect(await listing(`oci:${two}`, { platform: parsePlatform('linux/amd64') })).toEqual(expected);
  });

  it('of layouts are refused where a blob is damaged or of another size', async () => {
    const bad = join(root, 'bad');
    await cp(layout, bad, { recursive: true });
    const [first = ''] = await layersIn(bad);
    const bytes = await readFile(first);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20);
    await writeFile(first, bytes);
    await expect(listing(`oci:${bad}`)).rejects.toThrow(/has another content/);
    await writeFile(first, bytes.subarray(1));
    await expect(listing(`oci:${bad}`)).rejects.toThrow(/broke off|ends after/);
    await writeFile(first, Buffer.concat([bytes, bytes]));
    await expect(listing(`oci:${bad}`)).rejects.toThrow(/is longer than the \d+ bytes/);
  });

  it('are refused where a layer is another one than the configuration says', async () => {
    const other = await layoutOf(join(root, 'other'), [tarOf([{ path: 'x', content: 'x' }])]);
    const image = await openImage(`oci:${other}`, options());
    const cache = new BlobCache(join(root, 'cache-other'));
    const layer = image.manifest.layers[0] ?? { digest: '', size: 0 };
    await expect(cache.unpack(image.source, layer, `sha256:${'0'.repeat(64)}`, { signal })).rejects.toThrow(
      /has another content/,
    );
  });
});

const jsonOf = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'));

/** The document that a descriptor of the index or of the manifest names. */
async function manifestIn(folder: string): Promise<{ config: { digest: string }; layers: { digest: string }[] }> {
  const { manifests } = (await jsonOf(join(folder, 'index.json'))) as { manifests: { digest: string }[] };
  return (await jsonOf(blobPath(folder, manifests[0]?.digest ?? ''))) as Awaited<ReturnType<typeof manifestIn>>;
}

const blobPath = (folder: string, digest: string): string => join(folder, 'blobs/sha256', digest.slice(7));
const layersIn = async (folder: string): Promise<string[]> =>
  (await manifestIn(folder)).layers.map(({ digest }) => blobPath(folder, digest));
const configIn = async (folder: string): Promise<Buffer> =>
  readFile(blobPath(folder, (await manifestIn(folder)).config.digest));
