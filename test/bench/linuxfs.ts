/**
 * Files of an ext4 image through @nodeos/linuxfs, through root's loop mount, and through the `ext2fs` of the registry.
 * All three do the same calls on the same kind of image in the same folder, in turn.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import * as host from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '@nodeos/base';
import { open } from '@nodeos/linuxfs';
import { systemOf } from 'nodeos';
import { built, note, round, target, type Row } from './machines.js';
import { median } from './measure.js';

const run = promisify(execFile);

const MIB = 1 << 20;
const IMAGE_MIB = 1024;
const [STATS, FILES, LARGE] = [10_000, 2000, 256];
const EXT2FS = '4.2.5';
const FILE_DISK = '8.0.1';

/** What all three have. */
type Files = Pick<typeof host, 'stat' | 'writeFile' | 'readFile' | 'mkdir' | 'open'>;

interface Opened {
  readonly files: Files;
  /** Where the image's root is. */
  readonly root: string;
  /** Whether it has fsync. */
  readonly hasSync: boolean;
  /** Bytes of memory of the process that does the work, if it is not this one. */
  memory?(): Promise<number>;
  close(): Promise<void>;
}

type Contender = (image: string) => Promise<Opened>;

type Figures = Record<string, number>;

export async function linuxfs(runs: number): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-linuxfs-'));
  try {
    const contenders = await contendersIn(folder);
    const all: Record<string, Figures[]> = {};
    for (let turn = 0; turn < runs; turn++) {
      for (const [name, contender] of rotated(Object.entries(contenders), turn)) {
        note(`linuxfs, round ${turn + 1} of ${runs}: ${name}`);
        (all[name] ??= []).push(await measured(contender, join(folder, 'image')));
      }
    }
    const row: Record<string, number> = {};
    for (const [name, figures] of Object.entries(all)) {
      for (const what of Object.keys(figures[0] ?? {}))
        row[`${name}: ${what}`] = round(median(figures.map((one) => one[what] ?? Number.NaN)));
    }
    return row;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const rotated = <T>(list: readonly T[], by: number): T[] => [
  ...list.slice(by % list.length),
  ...list.slice(0, by % list.length),
];

/** Those that work here: only root mounts. */
async function contendersIn(folder: string): Promise<Record<string, Contender>> {
  const path = process.env['NODEOS_LINUXFS_KERNEL'] ?? (await builtKernel());
  const contenders: Record<string, Contender> = { linuxfs: (image) => openOurs(path, image) };
  if (process.getuid?.() === 0) contenders['loop mount'] = (image) => mountLoop(image, join(folder, 'mounted'));
  else note('no loop mount: that takes root');
  try {
    const ext2fs = await installed(folder);
    contenders['ext2fs of npm'] = (image) => openExt2fs(ext2fs, image);
  } catch (error) {
    note(`no ext2fs: ${messageOf(error)}`);
  }
  return contenders;
}

async function builtKernel(): Promise<string> {
  const { linuxfs: kernel } = await systemOf(target);
  if (!kernel) throw new Error('there is no kernel of linuxfs for this target');
  return (await built(kernel)).path(kernel);
}

async function openOurs(kernel: string, image: string): Promise<Opened> {
  const disk = await open(image, { kernel });
  const { promises } = await disk.mount();
  const { pid } = disk;
  return {
    files: promises as unknown as Files,
    root: '',
    hasSync: true,
    memory: async () => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
    },
    close: () => disk.close(),
  };
}

async function mountLoop(image: string, at: string): Promise<Opened> {
  await mkdir(at, { recursive: true });
  await run('mount', ['-o', 'loop,noatime', image, at]);
  return { files: host, root: at, hasSync: true, close: () => run('umount', [at]).then(() => undefined) };
}

interface Ext2fs {
  readonly mount: (disk: object, offset: number) => Promise<{ promises: Files }>;
  readonly umount: (fs: object) => Promise<void>;
}
type Installed = Ext2fs & { readonly FileDisk: new (handle: host.FileHandle) => object };

async function installed(folder: string): Promise<Installed> {
  await run('npm', [
    'install',
    '--prefix',
    folder,
    '--no-audit',
    '--no-fund',
    `ext2fs@${EXT2FS}`,
    `file-disk@${FILE_DISK}`,
  ]);
  const require = createRequire(join(folder, 'package.json'));
  const { mount, umount } = require('ext2fs') as Ext2fs;
  const { FileDisk } = require('file-disk') as Pick<Installed, 'FileDisk'>;
  return { mount, umount, FileDisk };
}

async function openExt2fs({ mount, umount, FileDisk }: Installed, image: string): Promise<Opened> {
  const handle = await host.open(image, 'r+');
  const fs = await mount(new FileDisk(handle), 0);
  const close = async (): Promise<void> => {
    await umount(fs);
    await handle.close();
  };
  return { files: fs.promises, root: '', hasSync: false, close };
}

async function measured(contender: Contender, image: string): Promise<Figures> {
  await rm(image, { force: true });
  execFileSync('truncate', ['-s', `${IMAGE_MIB}M`, image]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
  const started = performance.now();
  const opened = await contender(image);
  try {
    await opened.files.stat(`${opened.root}/`);
    const start = performance.now() - started;
    const idle = await opened.memory?.();
    const figures = { 'start to first operation, ms': start, ...(await calls(opened)), ...(await bulk(opened)) };
    const after = await opened.memory?.();
    if (idle === undefined || after === undefined) return figures;
    return { ...figures, 'memory idle, MiB': idle / MIB, 'memory afterwards, MiB': after / MIB };
  } finally {
    await opened.close();
  }
}

/** Milliseconds of `count` calls with so many at once. */
async function timed(count: number, atOnce: number, work: (index: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: atOnce }, one));
  return performance.now() - started;
}

async function calls({ files, root }: Opened): Promise<Figures> {
  const figures: Figures = {};
  const content = Buffer.alloc(4096, 'content');
  await files.writeFile(`${root}/one`, content);
  for (const atOnce of [1, 32]) {
    const folder = `${root}/${atOnce}`;
    await files.mkdir(folder);
    const create = await timed(FILES, atOnce, (index) => files.writeFile(`${folder}/${index}`, content));
    figures[`create 4 KiB files a second, ${atOnce} at once`] = FILES / (create / 1000);
    const read = await timed(FILES, atOnce, (index) => files.readFile(`${folder}/${index}`));
    figures[`read them a second, ${atOnce} at once`] = FILES / (read / 1000);
  }
  await timed(500, 1, () => files.stat(`${root}/one`));
  figures['stat, µs'] = ((await timed(STATS, 1, () => files.stat(`${root}/one`))) / STATS) * 1000;
  return figures;
}

async function bulk({ files, root, hasSync }: Opened): Promise<Figures> {
  const piece = Buffer.alloc(MIB, 'bulk');
  const handle = await files.open(`${root}/large`, 'w+');
  const write = await timed(LARGE, 1, (index) => handle.write(piece, 0, MIB, index * MIB));
  const sync = hasSync ? await timed(1, 1, () => handle.sync()) : 0;
  await timed(LARGE, 1, (index) => handle.read(piece, 0, MIB, index * MIB));
  const read = await timed(LARGE, 1, (index) => handle.read(piece, 0, MIB, index * MIB));
  await handle.close();
  const bytes = LARGE * MIB;
  return {
    [`write ${LARGE} MiB${hasSync ? ' and fsync' : ''}, MB/s`]: bytes / (write + sync) / 1000,
    [`read ${LARGE} MiB again, MB/s`]: bytes / read / 1000,
  };
}
