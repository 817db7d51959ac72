/**
 * Images as chunks: pushing and reading them, as ratios to what zstd itself takes; and a start from a store that is 20 ms
 * and 100 Mbit/s away, without and with the start list, against a start from this machine.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { file } from '@nodeos/block';
import { findImage, folderPlace, imageStore, openImage, push, type WritableImageStore } from '@nodeos/store';
import { startOf } from './images/start.js';
import { APP, note, round, type Context, type Row } from './machines.js';
import { median } from './measure.js';
import { farFolder, SLOW } from './web-folder.js';

const MB = 1e6;

export async function storedImages({ images, runs }: Context): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-store-'));
  try {
    return { ...(await throughput(images.usr.path, folder, runs)), ...(await starts(folder, runs)) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** MB of image per second of processor time, of all threads. */
async function perCore(size: number, work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return size / MB / ((user + system) / 1e6);
}

async function throughput(path: string, folder: string, runs: number): Promise<Row> {
  const device = await file(path, { readOnly: true });
  const { size } = device;
  const rows: Record<'push' | 'read' | 'pack' | 'unpack', number[]> = { push: [], read: [], pack: [], unpack: [] };
  const packed = join(folder, 'image.zst');
  for (let run = 0; run < runs; run++) {
    note(`store: pushing and reading, round ${run + 1} of ${runs}`);
    const store = imageStore(folderPlace(join(folder, `store-${run}`))) as WritableImageStore;
    rows.push.push(await perCore(size, () => push(device, store, 'usr')));
    const image = await findImage(store, 'usr', undefined);
    const read = await openImage(image, store.chunks);
    const into = Buffer.alloc(1 << 20);
    rows.read.push(
      await perCore(size, async () => {
        for (let at = 0; at < size; at += into.length)
          await read.read(into.subarray(0, Math.min(into.length, size - at)), at);
      }),
    );
    rows.pack.push(size / MB / secondsOf('zstd', '-q', '-f', '-3', '-T1', path, '-o', packed));
    rows.unpack.push(size / MB / secondsOf('zstd', '-q', '-t', packed));
  }
  await device.close();
  return {
    'chunk and push to a folder, MB/s per core': Math.round(median(rows.push)),
    'push / zstd -3': round(median(rows.push) / median(rows.pack)),
    'read from a folder, MB/s per core': Math.round(median(rows.read)),
    'read / zstd -t': round(median(rows.read) / median(rows.unpack)),
  };
}

function secondsOf(program: string, ...args: string[]): number {
  const started = performance.now();
  execFileSync(program, args);
  return (performance.now() - started) / 1000;
}

async function starts(folder: string, runs: number): Promise<Row> {
  const local: number[] = [];
  const [withoutList, withList]: [number[], number[]] = [[], []];
  const place = join(folder, 'roots');
  const link = await farFolder(place, SLOW);
  let bytes = 0;
  let image: { size: number; stored: number } | undefined;
  for (let run = 0; run < runs; run++) {
    note(`store: starts, round ${run + 1} of ${runs}`);
    // Pushed and recorded by a start from this machine, which is what the others are compared with.
    await rm(place, { recursive: true, force: true });
    local.push(await startOf([APP, '--root', `store:${place}:app`]));
    local[local.length - 1] = await startOf(['--root', `store:${place}:app`]);
    const list = await findImage(imageStore(folderPlace(place)), 'app', undefined);
    image = {
      size: list.recipe.size,
      stored: list.recipe.records.reduce((sum, { storedLength }) => sum + storedLength, 0),
    };
    link.showStarts(false);
    withoutList.push(await startOf(['--root', `store:${link.url}:app`]));
    bytes = link.takeBytes();
    link.showStarts(true);
    withList.push(await startOf(['--root', `store:${link.url}:app`]));
    link.takeBytes();
  }
  await link.close();
  return {
    'start from a store on this machine, to the first HTTP byte, s': round(median(local)),
    'start over 20 ms and 100 Mbit/s / that': round(median(withoutList) / median(local)),
    'the same with the start list / that': round(median(withList) / median(local)),
    'stored bytes that a start without the list fetches, % of the image': round((bytes / (image?.size ?? NaN)) * 100),
    'stored bytes of the image, % of it': round(((image?.stored ?? NaN) / (image?.size ?? NaN)) * 100),
  };
}
