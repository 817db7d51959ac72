import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { directory, file, symlink } from '@nodeos/tree';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BlobCache, makeImage, openImage, type NewImage } from '../index.js';

const run = promisify(execFile);
const signal = new AbortController().signal;

let root = '';
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), 'nodeos-make-'))));
afterAll(() => rm(root, { recursive: true, force: true }));

const IMAGE: NewImage = {
  platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
  config: { Entrypoint: ['/bin/app'], Env: ['A=1'], User: '1000:1000', WorkingDir: '/srv', ExposedPorts: ['80/tcp'] },
  layers: [
    { name: 'base', tree: [directory('bin'), file('bin/app', 'x'.repeat(100_000), 0o755)] },
    { name: 'app', tree: [directory('srv'), file('srv/data', 'data'), symlink('srv/link', 'data')] },
  ],
};

async function made(name: string): Promise<string> {
  const work = join(root, `${name}-work`);
  await mkdir(work);
  await makeImage(IMAGE, join(root, name), { work, signal, name: 'latest' });
  expect(await readdir(work)).toEqual([]);
  return join(root, name);
}

describe('an image of trees', () => {
  it('is the same each time, and skopeo and umoci take it', async () => {
    const [one, two] = [await made('one.tar'), await made('two.tar')];
    expect((await readFile(one)).equals(await readFile(two))).toBe(true);
    const layout = join(root, 'layout');
    await run('skopeo', ['copy', '--quiet', '--insecure-policy', `oci-archive:${one}`, `oci:${layout}:latest`]);
    const { stdout } = await run('skopeo', ['inspect', '--config', `oci-archive:${one}`]);
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ os: 'linux', architecture: 'arm', variant: 'v7' },
      config: { Entrypoint: ['/bin/app'], ExposedPorts: { '80/tcp': {} }, WorkingDir: '/srv' },
      history: [{ created_by: 'base' }, { created_by: 'app' }],
    });
    expect(JSON.parse((await run('umoci', ['stat', '--json', '--image', `${layout}:latest`])).stdout)).toHaveProperty(
      'history',
    );
  });

  it('has nothing that the schemas of the image specification are against', async () => {
    const layout = join(root, 'validated');
    await mkdir(layout);
    await run('tar', ['-xf', await made('four.tar'), '-C', layout]);
    expect((await run('oci-image-tool', ['validate', '--type', 'image', layout])).stdout).toContain(
      'Validation succeeded',
    );
  });

  it('is read again with all that was in it', async () => {
    const cache = new BlobCache(join(root, 'cache'));
    const image = await openImage(`oci-archive:${await made('three.tar')}`, { cache, signal });
    expect(image.config.config).toMatchObject({
      Entrypoint: ['/bin/app'],
      Env: ['A=1'],
      ExposedPorts: ['80/tcp'],
      User: '1000:1000',
    });
    const tree = await image.tree();
    expect([...tree.entries()].map(({ path }) => path)).toEqual(['', 'bin', 'bin/app', 'srv', 'srv/data', 'srv/link']);
    await tree.close();
    await image.close();
  });
});
