/** The cache of images is bounded by what was used longest ago. */
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { BlobCache, sha256Digest } from '../index.js';
import type { ImageSource } from '../source.js';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

const HOUR = 3_600_000;
const signal = new AbortController().signal;
const blobs = ['a', 'b', 'c', 'd'].map((letter) => Buffer.from(letter.repeat(1000)));

/** Gives the blobs from memory, as a registry does. */
const source: ImageSource = {
  name: 'memory',
  top: () => Promise.reject(new Error('no manifest')),
  manifest: () => Promise.reject(new Error('no manifest')),
  blob: ({ digest }, offset) => {
    const found = blobs.find((bytes) => sha256Digest(bytes) === digest) ?? Buffer.alloc(0);
    return Promise.resolve({ offset, body: Readable.from([found.subarray(offset)]) });
  },
  close: () => Promise.resolve(),
};

test('what was used longest ago goes first, what is in use stays, and a layer that went is fetched again', async () => {
  const root = await mkdtemp(join(tmpdir(), 'nodeos-images-'));
  folders.push(root);
  const cache = new BlobCache(root);
  expect(await cache.prune({ most: 0 })).toEqual([]);
  const fetch = (bytes: Buffer): Promise<string> =>
    cache.fetch(source, { digest: sha256Digest(bytes), size: bytes.length }, { signal });
  const paths: string[] = [];
  for (const [index, bytes] of blobs.entries()) {
    const path = await fetch(bytes);
    const used = new Date(Date.now() - (10 - index) * HOUR);
    await utimes(path, used, used);
    paths.push(path);
  }
  await fetch(blobs[0] ?? Buffer.alloc(0)); // used again
  expect(await cache.prune({ most: 2500, isDry: true })).toEqual(
    [1, 2].map((at) => ({ path: paths[at], bytes: 1000 })),
  );
  expect(await readdir(join(root, 'blobs/sha256'))).toHaveLength(4);
  expect((await cache.prune({ most: 2500 })).map(({ path }) => path)).toEqual([paths[1], paths[2]]);
  expect((await cache.prune({ most: 0 })).map(({ path }) => path)).toEqual([paths[3]]);
  expect(await readdir(join(root, 'blobs/sha256'))).toHaveLength(1);
  expect(await fetch(blobs[2] ?? Buffer.alloc(0))).toBe(paths[2]);
});
