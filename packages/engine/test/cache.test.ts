import { chmod, mkdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cacheRoot } from '@nodeos/base';
import { Cache, lockName, type Entry } from '../cache.js';
import { build } from '../engine.js';
import { planOf } from '../plan.js';
import { silent } from '../progress.js';
import { prune, usageOf } from '../prune.js';
import { withLock } from '../lock.js';
import type { Step } from '../step.js';
import { namesIn, stepOf, tempDir } from './helpers.js';

const folder = (parameters: Record<string, unknown> = {}): Step =>
  stepOf(
    'folder',
    async (ctx) => {
      await mkdir(join(ctx.dir, 'sub'));
      await writeFile(join(ctx.dir, 'sub', 'file'), 'content');
      await writeFile(join(ctx.dir, 'tool'), '#!/bin/sh\n', { mode: 0o755 });
      await symlink('tool', join(ctx.dir, 'link'));
    },
    { parameters },
  );

async function made(cache: Cache, step: Step): Promise<Entry> {
  const [built] = (await build([step], { cache, progress: silent, jobs: 1 })).steps;
  if (!built) throw new Error('not built');
  return cache.entry(step, built.key);
}

/** Changes a file's content but neither its size nor its time. */
async function changeSilently(path: string, text: string): Promise<void> {
  const { mtimeMs } = await stat(path);
  await writeFile(path, text);
  const seconds = (Math.floor(mtimeMs) + 0.5) / 1000; // the middle of the same millisecond
  await utimes(path, seconds, seconds);
}

describe('a damaged output', () => {
  const damages: Record<string, [(entry: Entry) => Promise<void>, RegExp]> = {
    'a changed byte': [
      async ({ output }) => {
        await writeFile(join(output, 'sub', 'file'), 'c0ntent');
        await utimes(join(output, 'sub', 'file'), 1, 1);
      },
      /the content of sub\/file has changed/,
    ],
    'a truncated file': [
      ({ output }) => truncate(join(output, 'sub', 'file'), 3),
      /sub\/file has 3 bytes instead of 7/,
    ],
    'a missing file': [({ output }) => rm(join(output, 'sub', 'file')), /sub\/file is missing/],
    'a missing output': [({ output }) => rm(output, { recursive: true }), /the folder cannot be read/],
    'a lost permission': [({ output }) => chmod(join(output, 'tool'), 0o644), /the permissions of tool have changed/],
    'another type': [
      async ({ output }) => {
        await rm(join(output, 'tool'));
        await mkdir(join(output, 'tool'));
      },
      /tool is no longer a file/,
    ],
    'another link': [
      async ({ output }) => {
        await rm(join(output, 'link'));
        await symlink('sub', join(output, 'link'));
      },
      /the content of link has changed/,
    ],
    'a file that was not there': [({ output }) => writeFile(join(output, 'more'), ''), /more was not there/],
    'one that was not there, deeper': [
      async ({ output }) => {
        await writeFile(join(output, 'sub', 'more'), '');
        await utimes(join(output, 'sub'), 1, 1);
      },
      /sub\/more was not there/,
    ],
    'a manifest cut off': [({ path }) => truncate(join(path, 'manifest.json'), 20), /its manifest is damaged/],
    'an empty manifest': [({ path }) => truncate(join(path, 'manifest.json'), 0), /its manifest is damaged/],
    'a manifest of null': [({ path }) => writeFile(join(path, 'manifest.json'), 'null'), /manifest is of another kind/],
    'a manifest of strange files': [
      async ({ path }) => {
        const manifest = JSON.parse(await readFile(join(path, 'manifest.json'), 'utf8')) as object;
        await writeFile(join(path, 'manifest.json'), JSON.stringify({ ...manifest, files: [null] }));
      },
      /manifest is of another kind/,
    ],
    'a missing manifest': [({ path }) => rm(join(path, 'manifest.json')), /its manifest is missing/],
    'a folder as manifest': [
      async ({ path }) => {
        await rm(join(path, 'manifest.json'));
        await mkdir(join(path, 'manifest.json'));
      },
      /its manifest cannot be read: EISDIR/,
    ],
    'a manifest of another key': [
      async ({ path }) => {
        const manifest = JSON.parse(await readFile(join(path, 'manifest.json'), 'utf8')) as object;
        await writeFile(join(path, 'manifest.json'), JSON.stringify({ ...manifest, key: 'other' }));
      },
      /its manifest is of another key/,
    ],
  };

  it.each(Object.entries(damages))('with %s is noticed, reported and rebuilt', async (_name, [damage, reason]) => {
    const cache = new Cache(tempDir());
    const step = folder();
    const entry = await made(cache, step);
    expect(await cache.lookup(entry)).toMatchObject({ state: 'present' });
    await damage(entry);
    expect(await cache.lookup(entry)).toMatchObject({
      state: 'corrupt',
      reason: expect.stringMatching(reason) as string,
    });
    expect(await cache.verify(entry)).toMatch(reason);
    expect((await planOf(cache, [step]))[0]?.reasons).toEqual([
      expect.stringMatching(new RegExp(`^its cache entry is damaged: .*${reason.source}`)),
    ]);
    const [built] = (await build([step], { cache, progress: silent, jobs: 1 })).steps;
    expect(built?.cached).toBe(false);
    expect(await readFile(join(entry.output, 'sub', 'file'), 'utf8')).toBe('content');
    expect(await cache.verify(entry)).toBeUndefined();
  });

  it('is found by verify if sizes and times are unchanged', async () => {
    const cache = new Cache(tempDir());
    const entry = await made(cache, folder());
    await changeSilently(join(entry.output, 'sub', 'file'), 'c0ntent');
    expect(await cache.lookup(entry)).toMatchObject({ state: 'present' });
    expect(await cache.verify(entry)).toBe('the content of sub/file has changed');
  });

  it('is not assumed if only the times differ, as after a copy', async () => {
    const cache = new Cache(tempDir());
    const entry = await made(cache, folder());
    for (const name of ['sub', 'sub/file', 'tool']) await utimes(join(entry.output, name), 1, 1);
    expect(await cache.lookup(entry)).toMatchObject({ state: 'present' });
  });
});

it('a missing cache has no entries, and foreign names are skipped', async () => {
  const cache = new Cache(join(tempDir(), 'new'));
  expect(await cache.entries()).toEqual([]);
  expect(await usageOf(cache)).toEqual([]);
  expect(await prune(cache, { keepPerStep: 0, sources: true, dryRun: false })).toEqual({ removed: [], skipped: [] });
  expect(await cache.verify(cache.entry(folder(), 'x'))).toBe('it has no manifest');
  const entry = await made(cache, folder());
  await writeFile(join(cache.root, 'steps', 'note.txt'), '');
  expect(await cache.entries()).toEqual([entry]);
});

describe('prune', () => {
  async function threeVersions(): Promise<{ cache: Cache; entries: Entry[] }> {
    const cache = new Cache(tempDir());
    const entries: Entry[] = [];
    for (const version of [1, 2, 3]) {
      const entry = await made(cache, folder({ version }));
      await utimes(join(entry.path, 'manifest.json'), version, version);
      entries.push(entry);
    }
    return { cache, entries };
  }

  it('keeps the most recently used outputs', async () => {
    const { cache, entries } = await threeVersions();
    await build([folder({ version: 1 })], { cache, progress: silent, jobs: 1 }); // use it again
    expect((await usageOf(cache)).map(({ entry }) => entry.key)).toEqual([0, 2, 1].map((index) => entries[index]?.key));
    const options = { keepPerStep: 1, sources: false };
    const would = await prune(cache, { ...options, dryRun: true });
    expect(would.removed.map(({ path }) => path)).toEqual([entries[2]?.path, entries[1]?.path]);
    expect(await cache.entries()).toHaveLength(3);
    expect(await prune(cache, { ...options, dryRun: false })).toEqual(would);
    expect(await cache.entries()).toEqual([entries[0]]);
    expect(namesIn(join(cache.root, 'locks'))).toEqual([]);
  });

  it('treats each step and target separately and keeps fetched sources unless asked', async () => {
    const { cache } = await threeVersions();
    await made(
      cache,
      stepOf('other', () => Promise.resolve()),
    );
    await mkdir(join(cache.root, 'sources'));
    await writeFile(join(cache.root, 'sources', `sha256-${'a'.repeat(64)}`), 'source');
    await prune(cache, { keepPerStep: 1, sources: false, dryRun: false });
    expect((await cache.entries()).map(({ name }) => name)).toEqual(['folder', 'other']);
    expect(namesIn(join(cache.root, 'sources'))).toHaveLength(1);
    const { removed } = await prune(cache, { keepPerStep: 0, sources: true, dryRun: false });
    expect(removed.map(({ bytes }) => bytes)).toContain(6);
    expect([await cache.entries(), namesIn(join(cache.root, 'sources'))]).toEqual([[], []]);
  });

  it('removes leftovers of killed builds but not the folder of a running build', async () => {
    const cache = new Cache(tempDir());
    const left = await cache.begin({ name: 'left', target: 'x', key: 'c'.repeat(64), path: '', output: '' });
    const running = cache.entry(folder(), 'd'.repeat(64));
    await withLock(cache.lockPath(lockName(running)), {}, async () => {
      const dir = await cache.begin(running);
      const { removed } = await prune(cache, { keepPerStep: 1, sources: false, dryRun: false });
      expect(removed.map(({ path }) => path)).toEqual([left]);
      expect((await stat(dir)).isDirectory()).toBe(true);
    });
  });

  it('counts bytes without following links', async () => {
    const cache = new Cache(tempDir());
    const big = join(tempDir(), 'big');
    await writeFile(big, 'x'.repeat(1 << 20));
    const step = stepOf('links', async (ctx) => {
      await symlink(big, join(ctx.dir, 'outside'));
      await symlink('.', join(ctx.dir, 'circle'));
      await writeFile(join(ctx.dir, 'file'), '1234');
    });
    await made(cache, step);
    const [usage] = await usageOf(cache);
    expect(usage?.bytes).toBeGreaterThan(4);
    expect(usage?.bytes).toBeLessThan(10_000);
  });
});

it('begin cleans up only after attempts at the same step with the same key', async () => {
  const cache = new Cache(tempDir());
  const entry = (name: string, key: string): Entry => ({ name, target: 'x', key, path: '', output: '' });
  const same = 'a'.repeat(32);
  const others = [await cache.begin(entry('step', `${'a'.repeat(31)}b`)), await cache.begin(entry('step-a', same))];
  const first = await cache.begin(entry('step', same));
  const second = await cache.begin(entry('step', same));
  expect(second).not.toBe(first);
  expect(namesIn(join(cache.root, 'tmp')).map((name) => join(cache.root, 'tmp', name))).toEqual(
    [...others, second].sort(),
  );
});

it('the cache folder comes from the environment and is absolute', () => {
  const before = { ...process.env };
  onTestFinished(() => void Object.assign(process.env, before));
  onTestFinished(() => {
    for (const name of ['NODEOS_CACHE', 'XDG_CACHE_HOME'])
      if (!(name in before)) Reflect.deleteProperty(process.env, name);
  });
  process.env['NODEOS_CACHE'] = 'relative';
  expect(new Cache().root).toBe(resolve('relative'));
  process.env['NODEOS_CACHE'] = '';
  process.env['XDG_CACHE_HOME'] = '/xdg';
  expect(cacheRoot()).toBe('/xdg/nodeos');
  process.env['XDG_CACHE_HOME'] = '';
  expect(cacheRoot()).toMatch(/\/\.cache\/nodeos$/);
});
