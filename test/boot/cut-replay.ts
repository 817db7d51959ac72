/**
 * What a power cut at any point of one run would have left: the changes that a machine made to its disk are recorded, and
 * made once more up to a point, on a device with a volatile cache. dm-log-writes of Linux does the same. So a point takes
 * a second or two, and no boot. https://docs.kernel.org/admin-guide/device-mapper/log-writes.html
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '@nodeos/base';
import { delegate, random, slice, volatile, withClose, writeImage, type BlockBackend } from '@nodeos/block';
import { expect } from 'vitest';
import {
  bootedOn,
  bootedUntil,
  dataOf,
  expectGrowth,
  freshDisk,
  isDataLength,
  lastOf,
  record,
  RECORDS,
  writeRecords,
  type Cuts,
} from './cut-disk.js';

const run = promisify(execFile);
/** A run has at least so many changes, or it was not the run that was meant. */
const FEWEST_CHANGES = 60;

interface Change {
  make(device: BlockBackend): unknown;
  /** What the machine had said before. */
  readonly said: string;
}

/** Boots a fresh disk, runs code on it to its end, and records all changes. */
async function recorded(image: string, code: string): Promise<readonly Change[]> {
  const disk = await freshDisk(image);
  const changes: Change[] = [];
  let said = '';
  const note = (make: Change['make']): void => void changes.push({ make, said });
  const device: BlockBackend = {
    ...delegate(disk),
    size: disk.size,
    write(bytes, offset) {
      const copy = Uint8Array.from(bytes);
      note((to) => to.write?.(copy, offset));
      return disk.write?.(bytes, offset);
    },
    zero(offset, length, options) {
      note((to) => to.zero?.(offset, length, options));
      return disk.zero?.(offset, length, options);
    },
    trim(offset, length) {
      note((to) => to.trim?.(offset, length));
      return disk.trim?.(offset, length);
    },
    flush() {
      note((to) => to.flush?.());
      return disk.flush?.();
    },
  };
  try {
    const { status, lines } = await bootedOn(device, code, { heard: (text) => void (said += text) });
    expect(status, lines.join('\n')).toBe(0);
  } finally {
    await disk.close();
  }
  expect(changes.length).toBeGreaterThan(FEWEST_CHANGES);
  return changes;
}

/** The disk after a cut before the change `at`, which loses some of what was not flushed. */
async function diskAfter(image: string, changes: readonly Change[], at: number, seed: number): Promise<BlockBackend> {
  const disk = await freshDisk(image);
  const powered = volatile(
    withClose(disk, () => undefined),
    seed,
  );
  for (const change of changes.slice(0, at)) await change.make(powered);
  await powered.cut();
  return disk;
}

/** Replays a run up to random points, and lets `judge` look at each. @returns how many points there were */
async function atPoints(
  { image, points, seed }: Cuts,
  changes: readonly Change[],
  judge: (disk: BlockBackend, said: string, point: number) => Promise<void>,
): Promise<void> {
  const chance = random(seed);
  for (let point = 0; point < points; point++) {
    const [at, loss] = [Math.floor(chance() * (changes.length + 1)), Math.floor(chance() * 2 ** 32)];
    const disk = await diskAfter(image, changes, at, loss);
    try {
      await judge(disk, changes[at]?.said ?? changes.at(-1)?.said ?? '', point);
    } catch (error) {
      const where = `before change ${at} of ${changes.length}, seed ${loss}`;
      throw new Error(`after a cut ${where}: ${messageOf(error)}`, { cause: error });
    } finally {
      await disk.close();
    }
  }
}

/** Bits of e2fsck's status: errors were corrected; it gave up. https://man7.org/linux/man-pages/man8/e2fsck.8.html */
const [CORRECTED, GAVE_UP] = [1, 8];

/**
 * Repairs the data as e2fsck does, from the journal, and looks again. It gives up where the superblock or the descriptors
 * are torn, which PID 1 repairs: then the disk boots before.
 * @returns the path of the filesystem
 */
async function repairedData(disk: BlockBackend, folder: string): Promise<string> {
  const path = join(folder, 'data.ext4');
  if (!(await canRepair(disk, path))) {
    const { status, lines } = await bootedUntil(disk, '0', { seed: 0 });
    expect(status, lines.join('\n')).toBe(0);
    expect(await canRepair(disk, path)).toBe(true);
  }
  await run('e2fsck', ['-fn', path]);
  return path;
}

/** @returns whether e2fsck did not give up. @throws its error, if errors were left */
async function canRepair(disk: BlockBackend, path: string): Promise<boolean> {
  const { offset, length } = await dataOf(disk);
  expect(isDataLength(length), `data of ${length} bytes`).toBe(true);
  await writeImage(slice(disk, offset, length), path);
  try {
    await run('e2fsck', ['-fy', path]);
    return true;
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (code === CORRECTED) return true;
    if (typeof code === 'number' && (code & GAVE_UP) !== 0) return false;
    throw error;
  }
}

/** Cuts one first boot, in which the data grow, at many points. Every `bootEvery`th disk boots after it, and grows. */
export async function replayGrowth(cuts: Cuts & { readonly bootEvery: number }): Promise<void> {
  const { image, folder, bootEvery } = cuts;
  const changes = await recorded(image, '0');
  await atPoints(cuts, changes, async (disk, _, point) => {
    await rm(await repairedData(disk, folder));
    if (point % bootEvery === 0) await expectGrowth(disk, folder);
  });
}

/** Cuts one run, in which records are written, at many points: all that was said to be synced is there. */
export async function replayRecords(cuts: Cuts): Promise<void> {
  const { image, folder } = cuts;
  const changes = await recorded(image, writeRecords(RECORDS));
  await atPoints(cuts, changes, async (disk, said) => {
    const path = await repairedData(disk, folder);
    const home = join(folder, 'home');
    try {
      await run('debugfs', ['-R', `rdump /home ${folder}`, path]);
      const names = await readdir(home).catch((): string[] => []);
      const log = names.includes('log') ? await readFile(join(home, 'log')) : Buffer.alloc(0);
      for (let n = 1; n <= (lastOf('log', said) ?? 0); n++)
        expect(log.subarray((n - 1) * 1000, n * 1000).equals(record(n)), `record ${n} of the log`).toBe(true);
      for (let n = 1; n <= (lastOf('file', said) ?? 0); n++)
        expect((await readFile(join(home, String(n)))).equals(record(n)), `file ${n}`).toBe(true);
    } finally {
      await rm(home, { recursive: true, force: true });
      await rm(path);
    }
  });
}
