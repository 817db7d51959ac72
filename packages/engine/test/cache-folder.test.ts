/** Foreign files in the cache folder stay, and a folder that is not a cache stays untouched. */
import { chown, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Cache } from '../cache.js';
import { build } from '../engine.js';
import { fetchSource } from '../fetch.js';
import { sha256 } from '@nodeos/base';
import { silent } from '../progress.js';
import { clean, prune } from '../prune.js';
import { namesIn, pathsIn, serve, stepOf, tempDir } from './helpers.js';

const step = stepOf('file', (context) => writeFile(join(context.dir, 'file'), 'made'));
const ALL = { keepPerStep: 0, sources: true, dryRun: false };

async function filled(root = tempDir()): Promise<Cache> {
  const cache = new Cache(root);
  await build([step], { cache, progress: silent, jobs: 1 });
  await cache.ensure('sources');
  await writeFile(join(root, 'sources', `sha256-${'a'.repeat(64)}`), 'source');
  return cache;
}

/** A user's folder with names that a cache could contain. */
async function precious(): Promise<string> {
  const root = tempDir();
  const key = 'b'.repeat(64);
  for (const folder of [`file/x86_64/${key}`, `x86_64/${key}`, key, `file-${'c'.repeat(32)}-AbCdEf`]) {
    await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, folder, 'thesis'), 'ten years');
  }
  await writeFile(join(root, `sha256-${'d'.repeat(64)}`), 'ten years');
  await writeFile(join(root, `file-x86_64-${'e'.repeat(12)}.log`), 'ten years');
  return root;
}

describe('a link that leads out of the cache', () => {
  it.each([['steps'], ['steps/file'], ['steps/file/x86_64'], ['steps/other'], ['tmp'], ['sources'], ['logs'], ['apt']])(
    'at %s is reported, neither followed nor removed',
    async (place) => {
      const [cache, folder] = [await filled(), await precious()];
      const before = pathsIn(folder);
      const link = join(cache.root, place);
      await rename(link, `${link}.away`).catch(() => undefined);
      await symlink(folder, link);
      const { skipped } = await prune(cache, ALL);
      const more = await clean(cache, { all: true });
      expect([...skipped, ...more]).toContainEqual({ path: link, reason: 'it is a symbolic link' });
      expect(pathsIn(folder)).toEqual(before);
      expect(await cache.entries()).toEqual([]);
    },
  );

  it('stays if it has the name of an output', async () => {
    const [cache, folder] = [await filled(), await precious()];
    const link = join(cache.root, 'steps', 'file', 'x86_64', 'f'.repeat(64));
    await symlink(folder, link);
    expect((await prune(cache, ALL)).skipped).toEqual([{ path: link, reason: 'it is a symbolic link' }]);
    expect(namesIn(join(cache.root, 'steps', 'file', 'x86_64'))).toEqual(['f'.repeat(64)]);
  });

  it('is not written through if it has the name of a partial download', async () => {
    const [cache, folder] = [await filled(), tempDir()];
    const content = 'the source';
    await writeFile(join(folder, 'profile'), 'of the user');
    await symlink(join(folder, 'profile'), join(cache.root, 'sources', `sha256-${sha256(content)}.part`));
    const { url } = await serve((_, response) => void response.end(content));
    const source = { name: 'source', version: '1', places: [{ url, sha256: sha256(content) }] };
    const path = await fetchSource(cache, source, { signal: new AbortController().signal, progress: () => undefined });
    expect(await readFile(path, 'utf8')).toBe(content);
    expect(await readFile(join(folder, 'profile'), 'utf8')).toBe('of the user');
  });
});

it('foreign names in the folders of the cache stay and are reported', async () => {
  const cache = await filled();
  const others = ['steps/notes.txt', 'tmp/work', 'logs/today.log', 'sources/linux.tar.xz', 'locks/mine', 'apt/lists'];
  for (const path of others) {
    await mkdir(join(cache.root, path, '..'), { recursive: true });
    await writeFile(join(cache.root, path), 'mine');
  }
  const told = await clean(cache, { all: true });
  expect(told.map(({ path }) => path).sort()).toEqual(others.map((path) => join(cache.root, path)).sort());
  expect(pathsIn(cache.root).filter((path) => path.includes('/'))).toEqual([...others].sort());
});

it('clean removes everything that was built, and fetched files only with all', async () => {
  const cache = await filled();
  await writeFile(join(cache.root, 'accelerator.json'), '{}');
  await mkdir(join(cache.root, 'apt', 'a'.repeat(12), 'lists'), { recursive: true });
  expect(await clean(cache, { all: false })).toEqual([]);
  expect(namesIn(cache.root)).toEqual(['CACHEDIR.TAG', 'accelerator.json', 'apt', 'locks', 'sources']);
  expect(await clean(cache, { all: true })).toEqual([]);
  expect(namesIn(cache.root)).toEqual(['CACHEDIR.TAG']);
});

describe('a folder that is not a cache', () => {
  const removals: readonly ((cache: Cache) => Promise<unknown>)[] = [
    (cache) => prune(cache, ALL),
    (cache) => prune(cache, { ...ALL, dryRun: true }),
    (cache) => clean(cache, { all: true }),
  ];

  it.each([['notes.txt'], ['CACHEDIR.TAG']])('stays untouched because of %s', async (name) => {
    const cache = new Cache(tempDir());
    await mkdir(join(cache.root, 'tmp', `file-${'c'.repeat(32)}-AbCdEf`), { recursive: true });
    await writeFile(join(cache.root, name), 'Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n');
    const before = pathsIn(cache.root);
    for (const removal of removals)
      await expect(removal(cache)).rejects.toThrow(`${cache.root} is not known to be a cache: it has no CACHEDIR.TAG`);
    expect(pathsIn(cache.root)).toEqual(before);
  });

  it.each([
    ['/', 'the root folder'],
    [homedir(), 'the home folder'],
  ])('%s is neither emptied nor filled', async (root, what) => {
    const why = `${root} cannot be the cache: it is ${what}`;
    await expect(prune(new Cache(root), { ...ALL, dryRun: true })).rejects.toThrow(why);
    await expect(new Cache(root).ensure('tmp')).rejects.toThrow(why);
  });

  it('can be built in without becoming a cache', async () => {
    const root = tempDir();
    await writeFile(join(root, 'notes.txt'), 'mine');
    const cache = await filled(root);
    expect(namesIn(root)).not.toContain('CACHEDIR.TAG');
    await expect(prune(cache, ALL)).rejects.toThrow('but notes.txt');
  });

  it.skipIf(process.geteuid?.() !== 0)('includes the folder of another user, even for root', async () => {
    const cache = await filled();
    await chown(cache.root, 65534, 65534);
    for (const removal of removals) await expect(removal(cache)).rejects.toThrow('belongs to user 65534');
    await chown(cache.root, 0, 0);
    const [entry] = await cache.entries();
    await chown(entry?.path ?? '', 65534, 65534);
    onTestFinished(() => chown(entry?.path ?? '', 0, 0));
    expect((await prune(cache, ALL)).skipped).toEqual([{ path: entry?.path, reason: 'it belongs to user 65534' }]);
  });
});

it('a cache carries the standard tag; an untagged folder counts as a cache if it holds nothing foreign', async () => {
  const cache = await filled();
  const tag = await readFile(join(cache.root, 'CACHEDIR.TAG'), 'latin1');
  expect(tag.slice(0, 43)).toBe('Signature: 8a477f597d28d172789f06886806bc55');
  const old = new Cache(tempDir());
  await mkdir(join(old.root, 'tmp', `file-${'c'.repeat(32)}-AbCdEf`), { recursive: true });
  await writeFile(join(old.root, 'accelerator.json'), '{}');
  expect((await prune(old, ALL)).removed).toHaveLength(1);
  await build([step], { cache: old, progress: silent, jobs: 1 });
  await writeFile(join(old.root, 'notes.txt'), 'mine');
  expect((await prune(old, ALL)).removed.length).toBeGreaterThan(0); // the first prune has tagged it
});
