/**
 * Container images as people make them: Debian with tools, Node.js with npm, and an application with its dependencies, in three
 * layers; in two versions of each. They are kept in the cache.
 */
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, NodeosError, sha256 } from '@nodeos/base';
import { Cache, canonicalJson, hashPath, run, withLock } from '@nodeos/engine';
import { hostDistribution, type Host } from '../distribution/debian.js';
import { note, ROOT } from '../machines.js';
import { debianArchives } from './debian.js';
import { appLayer, nodeLayer, type NodeVersion } from './layers.js';

const HERE = 'test/bench/containers';

/** Of the layers, in the history of the images. */
const CREATED = '1970-01-01T00:00:00Z';

const DEBIANS = ['release', 'upgraded'] as const;
const NODES: Readonly<Record<string, NodeVersion>> = {
  'node-1': { node: '26.9.0', npm: '12.2.0' },
  'node-2': { node: '26.10.0', npm: '12.2.1' },
};
/** Folders, one over the other. */
const APPS: Readonly<Record<string, readonly string[]>> = {
  'fastify-1': ['examples/fastify', 'test/bench/containers/fastify-before'],
  'fastify-2': ['examples/fastify'],
  hello: ['examples/hello'],
};

/** The first version, and what each of the others has newer. */
export const VERSIONS = {
  before: 'release.node-1.fastify-1',
  'npm bump': 'release.node-1.fastify-2',
  'distribution upgrade': 'upgraded.node-1.fastify-1',
  'Node.js bump': 'release.node-2.fastify-1',
} as const;

export interface ContainerImages {
  /** A layout, whose images have the names of their parts: `release.node-1.fastify-1`. */
  readonly layout: string;
  readonly names: readonly string[];
  /** Of the distribution's upgrade. */
  readonly changedPackages: number;
}

/** All versions of fastify on all versions below it, and two of another application. */
const NAMES = [
  ...DEBIANS.flatMap((debian) =>
    Object.keys(NODES).flatMap((node) => [`${debian}.${node}.fastify-1`, `${debian}.${node}.fastify-2`]),
  ),
  ...['release.node-1.hello', 'upgraded.node-2.hello'],
];

/** Makes the images, unless the cache has them. It must be done as root: debootstrap needs a chroot. */
export async function containerImages(): Promise<ContainerImages> {
  if (process.getuid?.() !== 0) throw new NodeosError('images of Debian can be made as root only (chroot)');
  const host = await hostDistribution();
  const folders = [HERE, ...Object.values(APPS).flat()].map((folder) => join(ROOT, folder));
  const key = sha256(canonicalJson({ host, NODES, NAMES, folders: await Promise.all(folders.map(hashPath)) }));
  const finished = join(new Cache().root, 'bench-images', key);
  await mkdir(join(finished, '..'), { recursive: true });
  const waiting = { onWait: () => note('waiting for another process that makes the same images') };
  await withLock(`${finished}.lock`, waiting, async () => {
    if (await exists(finished)) return;
    const work = `${finished}.tmp`;
    await rm(work, { recursive: true, force: true }); // of one that was killed
    try {
      await mkdir(join(work, 'made'), { recursive: true });
      await make(work, join(work, 'made'), host);
      await rename(join(work, 'made'), finished);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  const { changedPackages } = JSON.parse(await readFile(join(finished, MADE), 'utf8')) as Made;
  return { layout: join(finished, LAYOUT), names: NAMES, changedPackages };
}

const [LAYOUT, MADE] = ['layout', 'made.json'];
type Made = Pick<ContainerImages, 'changedPackages'>;

async function make(work: string, to: string, host: Host): Promise<void> {
  const layers: Record<string, string> = {};
  const { changedPackages, ...debians } = await debianArchives(work, host, { progress: note });
  Object.assign(layers, debians);
  for (const [name, version] of Object.entries(NODES)) {
    layers[name] = join(work, `${name}.tar`);
    await nodeLayer(version, layers[name], work);
  }
  for (const [name, folders] of Object.entries(APPS)) {
    layers[name] = join(work, `${name}.tar`);
    const app = join(work, 'app');
    await rm(app, { recursive: true, force: true });
    for (const folder of folders) await cp(join(ROOT, folder), app, { recursive: true });
    await appLayer(app, layers[name]);
  }
  const layout = join(to, LAYOUT);
  await run('umoci', ['init', '--layout', layout]);
  const tagged = new Set<string>();
  // Images with the same lower layers share them: each is compressed once.
  for (const name of NAMES) {
    const parts = name.split('.');
    for (let count = 1; count <= parts.length; count++)
      await addLayer({ layout, parts: parts.slice(0, count), layers, tagged });
  }
  await writeFile(join(to, MADE), JSON.stringify({ changedPackages } satisfies Made));
}

async function addLayer({
  layout,
  parts,
  layers,
  tagged,
}: {
  readonly layout: string;
  readonly parts: readonly string[];
  readonly layers: Readonly<Record<string, string>>;
  readonly tagged: Set<string>;
}): Promise<void> {
  const tag = parts.join('.');
  if (tagged.has(tag)) return;
  tagged.add(tag);
  note(`the image ${tag}`);
  const below = parts.slice(0, -1).join('.');
  const image = `${layout}:${tag}`;
  if (below === '') await run('umoci', ['new', '--image', image]);
  else await run('umoci', ['tag', '--image', `${layout}:${below}`, tag]);
  const layer = layers[parts.at(-1) ?? ''] ?? '';
  await run('umoci', ['raw', 'add-layer', '--image', image, '--history.created', CREATED, layer]);
}
