import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pathBytes } from '@nodeos/tree';
import { BlobCache, openImage } from '../index.js';
import { layoutOf, tarOf, type Member } from './images.js';
import { buildah, listingOfTree, umoci, type Listing } from './judges.js';
import { NASTY, type Nasty } from './nasty.js';

const signal = new AbortController().signal;
const isRoot = process.getuid?.() === 0;

let root = '';
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), 'nodeos-merge-'))));
afterAll(() => rm(root, { recursive: true, force: true }));

let layouts = 0;
const layoutWith = (layers: readonly (readonly Member[])[]): Promise<string> =>
  layoutOf(join(root, String(layouts++)), layers.map(tarOf));

async function ours(layout: string): Promise<Listing> {
  const image = await openImage(`oci:${layout}:latest`, { cache: new BlobCache(join(root, 'cache')), signal });
  const tree = await image.tree();
  try {
    return await listingOfTree(tree.entries());
  } finally {
    await tree.close();
    await image.close();
  }
}

/** Without the times of folders, which the judges take from the clock where no layer says them. */
const withoutTimes = (listing: Listing): Listing =>
  Object.fromEntries(
    Object.entries(listing).map(([path, line]) => [
      path,
      line.startsWith('directory') ? line.replace(/@\S+/, '') : line,
    ]),
  );

const outcome = (listing: Promise<Listing>): Promise<Listing | 'refused'> =>
  listing.then(withoutTimes, () => 'refused' as const);

describe.runIf(isRoot)('bad layers, and what other tools make of them', () => {
  it.each(NASTY)('$name', async ({ layers, differs = {}, refused }: Nasty) => {
    // Where no layer says the root, buildah makes it 0555.
    const [first = [], ...others] = layers;
    const layout = await layoutWith([[{ path: './' }, ...first], ...others]);
    if (refused) await expect(ours(layout)).rejects.toThrow(refused);
    const own = await outcome(ours(layout));
    expect(own === 'refused').toBe(refused !== undefined);
    for (const judge of [umoci, buildah]) {
      const theirs = await outcome(judge.unpack(layout));
      if (differs[judge.name] === undefined) expect(theirs, judge.name).toEqual(own);
      else expect(theirs, `${judge.name} agrees now: ${differs[judge.name]}`).not.toEqual(own);
    }
  });
});

describe('names', () => {
  it('are bytes', async () => {
    const name = Buffer.from('caf\xe9', 'latin1');
    const found = await ours(await layoutWith([[{ path: name, content: 'x' }]]));
    expect(Object.keys(found).map((one) => pathBytes(one))).toEqual([Buffer.alloc(0), name]);
  });
});

describe('times of folders', () => {
  const T = 1_000_000_000;

  it('are those of the lower layer where only what is in them changes', async () => {
    const layout = await layoutWith([
      [
        { path: 'etc/', mtime: T },
        { path: 'etc/a', content: 'a', mtime: T },
        { path: 'etc/b', content: 'b', mtime: T },
      ],
      [{ path: 'etc/.wh.a' }, { path: 'etc/c', content: 'c', mtime: T + 5 }],
    ]);
    expect((await ours(layout))['etc']).toBe(`directory 755 0:0 @${T} `);
  });

  it('are 0 where no layer says them', async () => {
    const found = await ours(await layoutWith([[{ path: 'var/lib/x', content: 'x', mtime: T }]]));
    expect([found['var'], found['var/lib'], found['']]).toEqual(Array(3).fill('directory 755 0:0 @0 '));
  });
});

/** A small world, so that layers meet: three names in three levels. */
const NAMES = ['a', 'b', 'c'];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const member: fc.Arbitrary<Member> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ path, content: fc.constantFrom('1', '2', '3'), mtime: fc.constantFrom(1, 2) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      path: path.map((one) => `${one}/`),
      mode: fc.constantFrom(0o700, 0o755),
      mtime: fc.constantFrom(1, 2),
    }),
  },
  { weight: 1, arbitrary: path.map((one) => ({ path: one, kind: '2', link: 'target', mtime: 1 })) },
  { weight: 2, arbitrary: path.map((one) => ({ path: one.replace(/[^/]*$/, '.wh.$&') })) },
  { weight: 1, arbitrary: path.map((one) => ({ path: `${one}/.wh..wh..opq` })) },
);

/**
 * The merge as one would say it in two sentences: first everything that is hidden goes, then everything that the layer
 * has comes. Only for layers whose paths are unique and go through no link and no file.
 */
function naive(layers: readonly (readonly Member[])[]): Record<string, string> {
  let tree = new Map<string, string>();
  const below = (one: string, parent: string): boolean => one.startsWith(`${parent}/`);
  for (const layer of layers) {
    for (const { path: whiteout } of layer.filter((one) => /\.wh\./.test(String(one.path)))) {
      const folder = String(whiteout).replace(/\/?[^/]*$/, '');
      const isOpaque = String(whiteout).endsWith('.wh..wh..opq');
      const hidden = String(whiteout).replace('.wh.', '');
      for (const one of [...tree.keys()])
        if (isOpaque ? below(one, folder) : one === hidden || below(one, hidden)) tree.delete(one);
    }
    for (const one of layer.filter(({ path: name }) => !/\.wh\./.test(String(name)))) {
      const name = String(one.path).replace(/\/$/, '');
      const parts = name.split('/');
      for (let depth = 1; depth < parts.length; depth++) {
        const parent = parts.slice(0, depth).join('/');
        if (!tree.has(parent)) tree.set(parent, 'directory 755 @0');
      }
      const isFolder = String(one.path).endsWith('/');
      if (!isFolder) tree = new Map([...tree].filter(([other]) => !below(other, name)));
      const kind = isFolder
        ? `directory ${(one.mode ?? 0).toString(8)}`
        : one.kind === '2'
          ? 'symlink'
          : `file ${String(one.content)}`;
      tree.set(name, `${kind} @${one.mtime ?? 0}`);
    }
  }
  return Object.fromEntries([...tree].sort());
}

/** Leaves out what the naive merge cannot do. */
function sensible(layers: readonly (readonly Member[])[]): Member[][] {
  const all = new Map<string, 'folder' | 'other'>();
  return layers.map((layer) => {
    const seen = new Map<string, 'folder' | 'other'>();
    return layer.filter((one) => {
      const name = String(one.path).replace(/\/$/, '');
      const plain = name.replace(/\/?\.wh\..*$/, '');
      const parents = plain
        .split('/')
        .map((_, depth, parts) => parts.slice(0, depth + (name.includes('.wh.') ? 1 : 0)).join('/'));
      if (parents.some((parent) => (seen.get(parent) ?? all.get(parent)) === 'other')) return false;
      if (name.includes('.wh.')) return true;
      const isBelow = [...seen.keys()].some((other) => other.startsWith(`${name}/`));
      if (seen.has(name) || (isBelow && !String(one.path).endsWith('/'))) return false;
      const kind = String(one.path).endsWith('/') ? 'folder' : 'other';
      seen.set(name, kind);
      all.set(name, kind);
      return true;
    });
  });
}

async function plain(layout: string): Promise<Record<string, string>> {
  const image = await openImage(`oci:${layout}:latest`, { cache: new BlobCache(join(root, 'cache')), signal });
  const tree = await image.tree();
  const found: [string, string][] = [];
  for (const entry of tree.entries()) {
    const { path: name, type, mode, mtime } = entry;
    let content = '';
    for await (const bytes of entry.open?.() ?? []) content += Buffer.from(bytes).toString();
    const kind = type === 'directory' ? `directory ${mode.toString(8)}` : type === 'file' ? `file ${content}` : type;
    if (name !== '') found.push([name, `${kind} @${mtime}`]);
  }
  await tree.close();
  return Object.fromEntries(found.sort());
}

const layersOf = fc.array(fc.array(member, { maxLength: 8 }), { minLength: 1, maxLength: 4 }).map(sensible);

describe('random layers', () => {
  it('are merged as the naive merge does, in any order of their members', async () => {
    await fc.assert(
      fc.asyncProperty(layersOf, fc.infiniteStream(fc.nat()), async (layers, chance) => {
        const expected = naive(layers);
        expect(await plain(await layoutWith(layers))).toEqual(expected);
        const shuffled = layers.map((layer) =>
          layer
            .map((one) => ({ one, rank: chance.next().value ?? 0 }))
            .sort((x, y) => x.rank - y.rank)
            .map(({ one }) => one),
        );
        expect(await plain(await layoutWith(shuffled))).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it.runIf(isRoot)('are unpacked by umoci to the same tree', async () => {
    await fc.assert(
      fc.asyncProperty(layersOf, async (layers) => {
        // What a whiteout hides is first, as umoci itself writes it: then both agree about folders that are half hidden.
        const sorted = layers.map((layer) =>
          [...layer].sort((x, y) => Number(/\.wh\./.test(String(y.path))) - Number(/\.wh\./.test(String(x.path)))),
        );
        const layout = await layoutWith(sorted);
        expect(withoutTimes(await ours(layout))).toEqual(withoutTimes(await umoci.unpack(layout)));
      }),
      { numRuns: 25 },
    );
  });
});
