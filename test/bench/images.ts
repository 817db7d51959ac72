/**
 * The bars of container images and stores, on images as people make them (containers/images.ts): what the next version shares, what a
 * start fetches, a server under 50 machines, starts over a slow link, and unpacking against umoci and mkfs.erofs.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { regions } from '@nodeos/block';
import { erofs, GROUP_SLOT, pathGroups } from '@nodeos/fs';
import { BlobCache, openImage } from '@nodeos/oci';
import {
  difference,
  findRecipe,
  folderPlace,
  imageStore,
  push,
  shareOfAll,
  type Recipe,
  type WritableImageStore,
} from '@nodeos/store';
import { containerImages, VERSIONS, type ContainerImages } from './containers/images.js';
import { replayAll } from './images/replay.js';
import { startOf, traced, type Request } from './images/start.js';
import { note, round, type Row } from './machines.js';
import { median } from './measure.js';
import { againstUmoci } from './oci.js';
import { encodeTraces, type Trace } from './scale/traces.js';
import { farFolder, SLOW } from './web-folder.js';

const MB = 1e6;

/** @param record a file for the traces, for `npm run bench -- scale` */
export async function realImages(runs: number, record: string | undefined): Promise<Row> {
  const images = await containerImages();
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-images-'));
  try {
    const store = join(folder, 'store');
    const recipes = await pushAll(images, store, join(folder, 'blobs'));
    const started = await startAll(store, recipes, join(folder, 'trace.jsonl'));
    if (record !== undefined) await writeFile(record, encodeTraces([...started.values()].map(({ trace }) => trace)));
    const replays = Object.values(VERSIONS).map((name) => ({ name, requests: started.get(name)?.requests ?? [] }));
    return {
      ...sharing(images, recipes),
      ...fetched(recipes, started),
      ...(await replayAll(store, replays)),
      ...(await starts(store, VERSIONS.before, runs)),
      ...(await againstUmoci(`oci:${images.layout}:${VERSIONS.before}`, folder, runs)),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Recipes = ReadonlyMap<string, Recipe>;
type Started = ReadonlyMap<string, { readonly requests: readonly Request[]; readonly trace: Trace }>;

/** Each image as EROFS with its files in groups. */
async function pushAll({ layout, names }: ContainerImages, place: string, blobs: string): Promise<Recipes> {
  const store = imageStore(folderPlace(place)) as WritableImageStore;
  const recipes = new Map<string, Recipe>();
  for (const name of names) {
    note(`images: pushing ${name}`);
    const cache = new BlobCache(blobs);
    const image = await openImage(`oci:${layout}:${name}`, { cache, signal: new AbortController().signal });
    const tree = await image.tree();
    const { size, regions: parts } = await erofs(tree.entries(), { tails: 'folders', place: pathGroups });
    const device = regions(parts, { size });
    await push(device, store, name, { blockSize: GROUP_SLOT, filesystem: 'erofs' });
    await device.close();
    await tree.close();
    recipes.set(name, (await findRecipe(store, name)).recipe);
  }
  return recipes;
}

async function startAll(store: string, recipes: Recipes, file: string): Promise<Started> {
  const started = new Map<string, { requests: Request[]; trace: Trace }>();
  for (const [name, recipe] of recipes) {
    note(`images: starting ${name}`);
    started.set(name, await traced(`${store}:${name}`, recipe, file));
  }
  return started;
}

/** What of each later version is there where the first one is. */
function sharing({ changedPackages }: ContainerImages, recipes: Recipes): Row {
  const rows: Record<string, string | number> = { 'packages of the distribution upgrade': changedPackages };
  const { before, ...later } = VERSIONS;
  const first = recipeOf(recipes, before);
  for (const [what, name] of Object.entries(later)) {
    const recipe = recipeOf(recipes, name);
    const { shared } = difference(first, recipe);
    rows[`stored already after ${what}, % of the bytes`] = percent(shared.bytes, shareOfAll(recipe).bytes);
  }
  return rows;
}

function fetched(recipes: Recipes, started: Started): Row {
  const recipe = recipeOf(recipes, VERSIONS.before);
  const { requests = [], trace } = started.get(VERSIONS.before) ?? {};
  const contents = recipe.records.reduce((sum, { rawLength }) => sum + rawLength, 0);
  const reads = trace?.reads ?? [];
  const bytes = reads.reduce((sum, read) => sum + read.bytes, 0);
  const asked = requests.reduce((sum, { length }) => sum + length, 0);
  return {
    'image of Debian, MB of contents': Math.round(contents / MB),
    'the same, stored, MB': Math.round(shareOfAll(recipe).bytes / MB),
    'chunks of it; of those, fetched before the first answer': `${recipe.records.length}; ${reads.length}`,
    'read before the first answer, MB': round(asked / MB),
    'fetched before the first answer, stored, MB': round(bytes / MB),
    'the same, % of the contents': percent(bytes, contents),
  };
}

/** A local start, and one from far away, without and with the start list. The kinds take turns. */
async function starts(place: string, name: string, runs: number): Promise<Row> {
  const far = await farFolder(place, SLOW);
  const fromFar = async (hasList: boolean): Promise<number> => {
    far.showStarts(hasList);
    far.takeBytes();
    return startOf(['--root', `store:${far.url}:${name}`], () => void bytes.set(hasList, far.takeBytes()));
  };
  const bytes = new Map<boolean, number>();
  const kinds = {
    local: () => startOf(['--root', `store:${place}:${name}`]),
    without: () => fromFar(false),
    with: () => fromFar(true),
  };
  const times: Record<keyof typeof kinds, number[]> = { local: [], without: [], with: [] };
  for (let run = 1; run <= runs; run++) {
    note(`images: starts over a slow link, round ${run} of ${runs}`);
    for (const [kind, start] of Object.entries(kinds)) times[kind as keyof typeof kinds].push(await start());
  }
  await far.close();
  const local = median(times.local);
  return {
    'start from a store on this machine, to the first HTTP byte, s': round(local),
    'start over 20 ms and 100 Mbit/s / that': round(median(times.without) / local),
    'the same with the start list / that': round(median(times.with) / local),
    'over the link before the answer, MB': round((bytes.get(false) ?? NaN) / MB),
    'the same with the start list, MB': round((bytes.get(true) ?? NaN) / MB),
  };
}

function recipeOf(recipes: Recipes, name: string): Recipe {
  const recipe = recipes.get(name);
  if (!recipe) throw new TypeError(`no image ${name}`);
  return recipe;
}

const percent = (part: number, whole: number): number => round((part / whole) * 100);
