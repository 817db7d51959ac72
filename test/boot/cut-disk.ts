/**
 * Machines whose power is cut. QEMU reaches their disk by NBD, and without a cache of its own; behind that, a cut loses
 * some of what the machine did not flush, and kills QEMU.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, mkdtemp, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  around,
  copy,
  copyOnWrite,
  file,
  formatDelta,
  memory,
  overlayLayout,
  partitions,
  random,
  readOnly,
  slice,
  volatile,
  withClose,
  writeImage,
  type BlockBackend,
  type Partition,
} from '@nodeos/block';
import { messageOf } from '@nodeos/base';
import { NbdServer } from '@nodeos/nbd';
import { runMachine } from '@nodeos/vm';
import { afterAll, beforeAll, expect } from 'vitest';
import { LONG, ROOT } from '../support.js';
import { EMULATED_PC } from './emulated.js';

const run = promisify(execFile);

const MIB = 1 << 20;
/** Bytes of the data in the image, and on the larger disk. */
const [SMALL_DATA, LARGE_DATA] = [32 * MIB, 3638 * MIB];
/** Whether the data have grown or not; there is nothing between. */
export const isDataLength = (length: number): boolean => [SMALL_DATA, LARGE_DATA].includes(length);

/** Bytes of the disk that the image is on. */
export const DISK = 4 * 2 ** 30;
const CHANGES: ReadonlySet<string> = new Set(['write', 'zero', 'trim', 'flush']);

/** A copy of the `disk` image on a larger disk. @returns its path */
async function largeDisk(folder: string): Promise<string> {
  const { stdout } = await run(process.execPath, [join(ROOT, 'bin/nodeos'), 'build', 'disk']);
  const path = join(folder, 'disk.img');
  await copyFile(join(stdout.trim().replace(/^\S+: /, ''), 'nodeos.img'), path);
  await truncate(path, DISK);
  return path;
}

/** Makes such a copy for the tests around the call. @returns its folder, and once they run its path */
export function useLargeDisk(): { readonly folder: string; readonly image: () => string } {
  const folder = mkdtempSync('/tmp/nodeos-cuts-');
  let image = '';
  beforeAll(async () => {
    image = await largeDisk(folder);
  }, LONG);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, image: () => image };
}

/** The disk as it was, with writes in memory. */
export async function freshDisk(path: string): Promise<BlockBackend> {
  const base = readOnly(await file(path));
  const layout = overlayLayout(base.size, 4096);
  const delta = memory(layout.size);
  await formatDelta(delta, layout);
  return copyOnWrite(base, delta);
}

export interface Cut {
  /** The power is cut before this change to the disk, counted from 1 with each boot; a flush counts too. Default: never. */
  readonly at?: number;
  readonly seed: number;
}

export interface Booted {
  /** Changes to the disk, up to the cut. */
  readonly changes: number;
  readonly wasCut: boolean;
  /** Undefined if the code did not end. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly lines: readonly string[];
}

/** Boots the disk, which stays open, and runs code in it. */
export async function bootedUntil(disk: BlockBackend, code: string, { at = Infinity, seed }: Cut): Promise<Booted> {
  const kill = new AbortController();
  const powered = volatile(
    withClose(disk, () => undefined),
    seed,
  );
  const seen = { changes: 0, wasCut: false, stdout: '' };
  const counted = around(powered, (operation, _offset, _length, work) => {
    if (CHANGES.has(operation) && ++seen.changes === at) {
      seen.wasCut = true;
      void powered.cut();
      kill.abort();
    }
    return work();
  });
  const heard = (text: string): void => void (seen.stdout += text);
  try {
    const ended = await bootedOn(counted, code, { heard, kill: kill.signal }).catch((error: unknown) => {
      if (!seen.wasCut) throw error;
      return { status: undefined, lines: [] };
    });
    return { ...seen, ...ended };
  } finally {
    if (seen.wasCut) await powered.cut();
  }
}

interface Running {
  /** Called with what the code says. */
  readonly heard: (text: string) => void;
  readonly kill?: AbortSignal;
}

/** Boots a device, which stays open, and runs code in the machine. */
export async function bootedOn(
  device: BlockBackend,
  code: string,
  { heard, kill }: Running,
): Promise<Pick<Booted, 'status' | 'lines'>> {
  const folder = await mkdtemp('/tmp/nodeos-cut-');
  const server = new NbdServer({ exports: { disk: { open: () => withClose(device, () => undefined) } } });
  const socket = join(folder, 'nbd');
  await server.listen({ path: socket });
  try {
    const { status, lines } = await runMachine({
      ...EMULATED_PC,
      medium: { path: `nbd+unix:///disk?socket=${socket}`, keeps: true, drive: 'virtio', firmware: 'bios' },
      extra: ['-set', 'drive.medium.cache=none'],
      settings: { exec: code },
      ports: { 'nodeos.stdout': (chunk) => heard(chunk.toString()) },
      ...(kill ? { kill } : {}),
      timeout: 180,
      bootTimeout: 120,
    });
    return { status, lines };
  } finally {
    await server.close(1);
    await rm(folder, { recursive: true });
  }
}

/** The partition of the data. @throws Error unless the disk has an intact table */
export async function dataOf(disk: BlockBackend): Promise<Partition> {
  const found = (await partitions(disk)).find(({ name }) => name === 'data');
  if (!found) throw new Error('there is no partition data');
  return found;
}

/** What sgdisk says of the tables. */
export async function verdictOnTables(disk: BlockBackend, folder: string): Promise<string> {
  const path = join(folder, 'tables.img');
  const tables = await file(path, { create: disk.size });
  try {
    for (const start of [0, disk.size - MIB]) await copy(slice(disk, start, MIB), slice(tables, start, MIB));
  } finally {
    await tables.close();
  }
  const { stdout, stderr } = await run('sgdisk', ['-v', path]).finally(() => rm(path));
  return stdout + stderr;
}

/** Lets e2fsck look at the data of a machine that was shut down. @throws Error with what it finds */
export async function checkData(disk: BlockBackend, folder: string): Promise<void> {
  const { offset, length } = await dataOf(disk);
  const path = join(folder, 'data.ext4');
  await writeImage(slice(disk, offset, length), path);
  await run('e2fsck', ['-fn', path]).finally(() => rm(path));
}

export interface Cuts {
  /** The path of the image on a larger disk. */
  readonly image: string;
  readonly folder: string;
  /** How many times the power is cut. */
  readonly points: number;
  readonly seed: number;
}

/** Changes to the disk, at least, in a first boot, and in a boot that writes records. */
const FIRST_BOOT = 70;
const RECORDS_BOOT = 400;

/** Cuts the power of first boots. The next one must repair and grow what the first one left. */
export async function cutGrowth({ image, folder, points, seed }: Cuts): Promise<void> {
  const chance = random(seed);
  for (let cuts = 0; cuts < points;) {
    const cut = { at: 1 + Math.floor(chance() * FIRST_BOOT), seed: Math.floor(chance() * 2 ** 32) };
    const disk = await freshDisk(image);
    try {
      const { wasCut } = await bootedUntil(disk, BLOCKS, cut);
      if (wasCut) cuts++;
      await expectGrowth(disk, folder).catch((error: unknown) => {
        throw new Error(`after the cut ${JSON.stringify(cut)}: ${messageOf(error)}`, { cause: error });
      });
    } finally {
      await disk.close();
    }
  }
}

const BLOCKS = "console.log(fs.statfsSync('/data').blocks)";

/** By the next boot, or the one after it if the table was torn. */
export async function expectGrowth(disk: BlockBackend, folder: string): Promise<void> {
  const { length } = await dataOf(disk);
  expect(isDataLength(length), `data of ${length} bytes`).toBe(true);
  const blocks = async (): Promise<number> => {
    const { status, stdout, lines } = await bootedUntil(disk, BLOCKS, { seed: 0 });
    expect(status, lines.join('\n')).toBe(0);
    return Number(stdout);
  };
  if ((await blocks()) < 900_000) expect(await blocks()).toBeGreaterThan(900_000);
  expect((await dataOf(disk)).length).toBe(LARGE_DATA);
  expect(await verdictOnTables(disk, folder)).toContain('No problems found');
  await checkData(disk, folder);
}

/**
 * Each boot looks for the records of those before it, says how many are whole, and writes more until its power is cut.
 * Records are at the end of one file, and each one is also a file that is renamed into its place.
 */
export const writeRecords = (count: number): string => `
const { open, write, fsync, close, rename, read, exists, truncate } = Object.fromEntries(
  Object.entries(fs).filter(([n]) => n.endsWith('Sync')).map(([n, f]) => [n.slice(0, -4), f]));
const record = (n) => Buffer.alloc(1000, 'record ' + n + ' ');
const log = open('/data/home/log', fs.constants.O_RDWR | fs.constants.O_CREAT);
const found = Buffer.alloc(1000);
let n = 0;
while (read(log, found, 0, 1000, n * 1000) === 1000 && found.equals(record(n + 1))) n++;
let files = 0;
while (exists('/data/home/' + (files + 1)) && fs.readFileSync('/data/home/' + (files + 1)).equals(record(files + 1))) files++;
fs.ftruncateSync(log, n * 1000);
console.log('found', n, files);
n = Math.min(n, files);
const folder = open('/data/home', 'r');
for (let end = n + ${count}; n < end;) {
  const bytes = record(++n);
  write(log, bytes, 0, 1000, (n - 1) * 1000);
  fsync(log);
  console.log('log', n);
  const fd = open('/data/home/new', 'w');
  write(fd, bytes);
  fsync(fd);
  close(fd);
  rename('/data/home/new', '/data/home/' + n);
  fsync(folder);
  console.log('file', n);
}`;

/** A record as the code above writes it. */
export const record = (n: number): Buffer => Buffer.alloc(1000, `record ${n} `);

/** Records that one boot writes. */
export const RECORDS = 60;

/** Cuts the power while records are written, of one disk all the time. */
export async function cutRecords({ image, folder, points, seed }: Cuts): Promise<void> {
  const chance = random(seed);
  const disk = await freshDisk(image);
  try {
    let [log, files, cuts] = [0, 0, 0];
    for (let boots = 0; cuts < points; boots++) {
      const cut = { at: 1 + Math.floor(chance() * RECORDS_BOOT), seed: Math.floor(chance() * 2 ** 32) };
      const { stdout, wasCut, status, lines } = await bootedUntil(disk, writeRecords(RECORDS), cut);
      if (wasCut) cuts++;
      else expect(status, lines.join('\n')).toBe(0);
      const what = `boot ${boots} after ${cuts} cuts, ${JSON.stringify(cut)}: ${stdout.slice(0, 40)}`;
      const found = /^found (\d+) (\d+)$/m.exec(stdout);
      if (!found) continue; // it was cut before
      expect(Number(found[1]), what).toBeGreaterThanOrEqual(log);
      expect(Number(found[2]), what).toBeGreaterThanOrEqual(files);
      log = lastOf('log', stdout) ?? Number(found[1]);
      files = lastOf('file', stdout) ?? Number(found[2]);
    }
    const { status, stdout, lines } = await bootedUntil(disk, writeRecords(RECORDS), { seed: 0 });
    expect(status, lines.join('\n')).toBe(0);
    const [, foundLog, foundFiles] = /^found (\d+) (\d+)$/m.exec(stdout) ?? [];
    expect(Number(foundLog)).toBeGreaterThanOrEqual(log);
    expect(Number(foundFiles)).toBeGreaterThanOrEqual(files);
    await checkData(disk, folder);
  } finally {
    await disk.close();
  }
}

export const lastOf = (word: string, stdout: string): number | undefined => {
  const all = [...stdout.matchAll(new RegExp(`^${word} (\\d+)\\n`, 'gm'))];
  return all.length === 0 ? undefined : Number(all.at(-1)?.[1]);
};
