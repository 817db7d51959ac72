/**
 * A container image of about 400 MB: fetched from a registry on the loopback, merged and described as EROFS, against
 * umoci and mkfs.erofs, which have the image on the disk already. Nothing is cached.
 */
import { execFile, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { erofs } from '@nodeos/fs';
import { BlobCache, openImage } from '@nodeos/oci';
import { note, round, type Row } from './machines.js';
import { freePort, median } from './measure.js';

const run = promisify(execFile);
const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
const LAYERS = 2;

/** Each layer is a copy of the modules of this project. @returns MiB of the files */
async function makeImage(folder: string, layout: string): Promise<number> {
  const image = `${layout}:latest`;
  await run('umoci', ['init', '--layout', layout]);
  await run('umoci', ['new', '--image', image]);
  for (let layer = 1; layer <= LAYERS; layer++) {
    const tree = join(folder, `tree-${layer}`);
    await cp(MODULES, join(tree, String(layer)), { recursive: true, verbatimSymlinks: true });
    await run('tar', ['-cf', `${tree}.tar`, '--owner=0', '--group=0', '-C', tree, '.']);
    await rm(tree, { recursive: true });
    await run('umoci', ['raw', 'add-layer', '--image', image, `${tree}.tar`]);
  }
  const sizes = await Promise.all(
    Array.from({ length: LAYERS }, (_, index) => stat(join(folder, `tree-${index + 1}.tar`))),
  );
  return sizes.reduce((sum, { size }) => sum + size, 0) / (1 << 20);
}

/** @returns the address, and what ends it */
async function registry(folder: string): Promise<{ readonly host: string; stop(): void }> {
  await mkdir(folder);
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${folder}/blobs}}\nhttp: {addr: '${host}'}\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  for (let tries = 0; tries < 100; tries++) {
    const isUp = await fetch(`http://${host}/v2/`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isUp) break;
    await sleep(100);
  }
  return { host, stop: () => void child.kill() };
}

export async function ociImages(runs: number): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-'));
  try {
    const layout = join(folder, 'layout');
    const size = await makeImage(folder, layout);
    return {
      'container image, unpacked, MiB': Math.round(size),
      ...(await againstUmoci(`oci:${layout}:latest`, folder, runs)),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param source an image in a layout. @param folder for whatever is made */
export async function againstUmoci(source: string, folder: string, runs: number): Promise<Row> {
  const served = await registry(join(folder, 'registry'));
  try {
    const [cache, bundle, out] = ['cache', 'bundle', 'out.erofs'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const name = `docker://${served.host}/bench:1`;
    await run('skopeo', ['copy', '--insecure-policy', '--quiet', '--dest-tls-verify=false', source, name]);
    const ways = {
      'fetched, merged and described, s': async () => {
        const image = await openImage(name, { cache: new BlobCache(cache), signal: new AbortController().signal });
        const tree = await image.tree();
        await erofs(tree.entries());
        await tree.close();
      },
      'umoci unpack and mkfs.erofs, s': async () => {
        await run('umoci', ['unpack', '--image', source.replace(/^oci:/, ''), bundle]);
        await run('mkfs.erofs', ['--quiet', out, join(bundle, 'rootfs')]);
      },
    };
    const times = new Map(Object.keys(ways).map((one) => [one, [] as number[]]));
    // The first round fills the page cache, and does not count.
    for (let turn = 0; turn <= runs; turn++) {
      note(`container images, round ${turn} of ${runs}`);
      for (const [one, work] of Object.entries(ways)) {
        for (const path of [cache, bundle, out]) await rm(path, { recursive: true, force: true });
        const started = performance.now();
        await work();
        if (turn > 0) times.get(one)?.push((performance.now() - started) / 1000);
      }
    }
    const [ours = 0, theirs = 0] = [...times.values()].map(median);
    return {
      ...Object.fromEntries([...times].map(([one, list]) => [one, round(median(list))])),
      'umoci and mkfs.erofs / fetched, merged and described': round(theirs / ours),
    };
  } finally {
    served.stop();
  }
}
