/**
 * Images that somebody has damaged on purpose: fields of the structures that a filesystem's driver believes. One kernel
 * serves many of them, and is started anew when one has ended it.
 */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf } from '@nodeos/base';
import { file, random, type BlockBackend } from '@nodeos/block';
import { crc32c } from '../../packages/fs/crc32c.js';
import { Kernel } from '../../packages/linuxfs/kernel.js';
import type { MountedFilesystem } from '../../packages/linuxfs/mounted.js';
import { Disk } from '../../packages/linuxfs/open.js';

interface Kind {
  readonly type: string;
  readonly mebibytes: number;
  /** Makes an empty filesystem in an image, or one of a tree. */
  make(image: string, tree: string): readonly [string, ...string[]];
  /** Bytes of the structures that describe the whole filesystem. */
  readonly head: readonly [offset: number, length: number];
  readonly isReadOnly?: boolean;
  /** How many of the long test's images are of this kind: more of those that take less time. */
  readonly images: number;
}

const KIB = 1 << 10;
const DATA = 0x78; // all bytes of all files: such sectors say nothing to a driver

/** Where a driver checks sums, the sums are left out if it can do without, so that more than the sums is tested. */
export const KINDS: Readonly<Record<string, Kind>> = {
  ext4: {
    type: 'ext4',
    mebibytes: 8,
    make: (image) => ['mkfs.ext4', '-q', '-F', '-O', '^metadata_csum,inline_data', '-I', '256', image],
    head: [KIB, 2 * KIB],
    images: 6000,
  },
  'ext4 with sums': {
    type: 'ext4',
    mebibytes: 8,
    make: (image) => ['mkfs.ext4', '-q', '-F', image],
    head: [KIB, 2 * KIB],
    images: 5000,
  },
  ext3: {
    type: 'ext3',
    mebibytes: 8,
    make: (image) => ['mkfs.ext3', '-q', '-F', image],
    head: [KIB, 2 * KIB],
    images: 5000,
  },
  ext2: {
    type: 'ext2',
    mebibytes: 4,
    make: (image) => ['mkfs.ext2', '-q', '-F', image],
    head: [KIB, 2 * KIB],
    images: 9000,
  },
  xfs: {
    type: 'xfs',
    mebibytes: 300,
    make: (image) => ['mkfs.xfs', '-q', '-f', '-m', 'crc=0', image],
    head: [0, 2 * KIB],
    images: 4000,
  },
  'xfs with sums': {
    type: 'xfs',
    mebibytes: 300,
    make: (image) => ['mkfs.xfs', '-q', '-f', image],
    head: [0, 2 * KIB],
    images: 3000,
  },
  btrfs: {
    type: 'btrfs',
    mebibytes: 128,
    make: (image) => ['mkfs.btrfs', '-q', '-f', image],
    head: [64 * KIB, 4 * KIB],
    images: 3000,
  },
  f2fs: {
    type: 'f2fs',
    mebibytes: 64,
    make: (image) => ['mkfs.f2fs', '-q', '-f', image],
    head: [KIB, 3 * KIB],
    images: 3000,
  },
  'vfat of 12 bits': {
    type: 'vfat',
    mebibytes: 2,
    make: (image) => ['mkfs.vfat', '-F', '12', image],
    head: [0, KIB],
    images: 11000,
  },
  vfat: {
    type: 'vfat',
    mebibytes: 40,
    make: (image) => ['mkfs.vfat', '-F', '32', image],
    head: [0, KIB],
    images: 5000,
  },
  exfat: { type: 'exfat', mebibytes: 8, make: (image) => ['mkfs.exfat', image], head: [0, 8 * KIB], images: 10000 },
  squashfs: {
    type: 'squashfs',
    mebibytes: 0,
    make: (image, tree) => ['mksquashfs', tree, image, '-quiet', '-no-progress', '-noI', '-noD', '-noF', '-noX'],
    head: [0, 96],
    images: 14000,
    isReadOnly: true,
  },
  'squashfs, compressed': {
    type: 'squashfs',
    mebibytes: 0,
    make: (image, tree) => ['mksquashfs', tree, image, '-quiet', '-no-progress', '-comp', 'zstd'],
    head: [0, 96],
    images: 9000,
    isReadOnly: true,
  },
  erofs: {
    type: 'erofs',
    mebibytes: 0,
    make: (image, tree) => ['mkfs.erofs', '-zlz4hc', '-E^sb_chksum', image, tree],
    head: [KIB, 128],
    images: 10000,
    isReadOnly: true,
  },
  iso9660: {
    type: 'iso9660',
    mebibytes: 0,
    make: (image, tree) => ['xorriso', '-as', 'mkisofs', '-R', '-J', '-quiet', '-o', image, tree],
    head: [32 * KIB, 4 * KIB],
    images: 8000,
    isReadOnly: true,
  },
};

export interface Findings {
  images: number;
  /** How many of them could be mounted. */
  mounted: number;
  /** How often each code was the reason why an image could not be mounted. */
  readonly refused: Record<string, number>;
  /** How often the kernel ended, by its last words. */
  readonly deaths: Record<string, number>;
  /** What must not happen, with the seed of the image. */
  readonly problems: string[];
}

const SECTOR = 512;
const PAGE = 4096;

/** The pages of a sound image, without zeros, and the sectors that a driver believes. */
interface Sound {
  readonly size: number;
  readonly pages: ReadonlyMap<number, Buffer>;
  readonly sectors: readonly number[];
}

/** A sound image with some files, folders, links and attributes. */
async function soundImage(kernel: Kernel, folder: string, kind: Kind): Promise<Sound> {
  const [image, tree] = [join(folder, `${kind.type}.img`), join(folder, 'tree')];
  if (kind.mebibytes > 0) {
    writeFileSync(image, '');
    truncateSync(image, kind.mebibytes << 20);
  } else {
    await mkdir(join(tree, 'folder'), { recursive: true });
    for (const [name, length] of FILES) await writeFile(join(tree, name), Buffer.alloc(length, DATA));
    await symlink('folder', join(tree, 'link'));
  }
  const [command, ...args] = kind.make(image, tree);
  execFileSync(command, args, { stdio: 'pipe' });
  const device = await file(image);
  if (!kind.isReadOnly) {
    const mounted = await new Disk(device, kernel, false).mount({ filesystem: kind.type });
    await populate(mounted);
    await mounted.unmount();
  }
  const pages = new Map<number, Buffer>();
  const sectors: number[] = [];
  for (let at = 0; at < device.size; at += PAGE) {
    const page = Buffer.alloc(PAGE);
    await device.read(page.subarray(0, Math.min(PAGE, device.size - at)), at);
    if (page.every((byte) => byte === 0)) continue;
    pages.set(at / PAGE, page);
    for (let sector = 0; sector < PAGE; sector += SECTOR)
      if (page.subarray(sector, sector + SECTOR).some((byte) => byte !== 0 && byte !== DATA)) sectors.push(at + sector);
  }
  await device.close();
  return { size: device.size, pages, sectors };
}

const FILES = [
  ['file', 20_000],
  ['small', 30],
  ['folder/inner', 5000],
  ['folder/ö', 0],
] as const;

async function populate({ promises, ...mounted }: MountedFilesystem): Promise<void> {
  await promises.mkdir('/folder');
  for (const [name, length] of FILES) await promises.writeFile(`/${name}`, Buffer.alloc(length, DATA));
  for (let i = 0; i < 60; i++) await promises.writeFile(`/folder/some longer name ${i}`, '');
  const sparse = await promises.open('/sparse', 'w');
  for (let i = 0; i < 12; i++) await sparse.write(Buffer.alloc(600, DATA), 0, 600, i * 70_000);
  await sparse.close();
  await promises.symlink('folder', '/link').catch(() => undefined); // FAT has none
  await mounted.setxattr({ path: '/file' }, 'user.name', Buffer.from('value')).catch(() => undefined);
  await promises.link('/file', '/hard').catch(() => undefined);
}

/** A damaged copy, which takes memory for what differs. */
function copyOf({ size, pages }: Sound): Required<Pick<BlockBackend, 'read' | 'write'>> & BlockBackend {
  const changed = new Map<number, Buffer>();
  const each = (offset: number, bytes: Uint8Array, use: (page: number, at: number, part: Uint8Array) => void): void => {
    for (let done = 0; done < bytes.length;) {
      const at = (offset + done) % PAGE;
      const part = bytes.subarray(done, done + PAGE - at);
      use((offset + done - at) / PAGE, at, part);
      done += part.length;
    }
  };
  const check = (offset: number, length: number): void => {
    if (offset + length > size) throw Object.assign(new RangeError('beyond the end'), { code: 'EIO' });
  };
  return {
    size,
    read(into, offset) {
      check(offset, into.length);
      each(offset, into, (page, at, part) => {
        const found = changed.get(page) ?? pages.get(page);
        if (found) part.set(found.subarray(at, at + part.length));
        else part.fill(0);
      });
    },
    write(bytes, offset) {
      check(offset, bytes.length);
      each(offset, bytes, (page, at, part) => {
        let own = changed.get(page);
        if (!own) changed.set(page, (own = Buffer.from(pages.get(page) ?? Buffer.alloc(PAGE))));
        own.set(part, at);
      });
    },
    flush: () => undefined,
    close: () => undefined,
  };
}

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Damages one to a dozen places: in half of the images only where the whole filesystem is described. */
async function damage(device: ReturnType<typeof copyOf>, sound: Sound, kind: Kind, next: () => number): Promise<void> {
  const pick = (below: number): number => Math.floor(next() * below);
  const heads = sound.sectors.filter((at) => at < kind.head[0] + kind.head[1] && at + SECTOR > kind.head[0]);
  const places = next() < 0.5 && heads.length > 0 ? heads : sound.sectors;
  const damaged = Array.from({ length: 1 + pick(next() < 0.5 ? 2 : 12) }, () => places[pick(places.length)] ?? 0);
  for (const at of damaged) {
    const sector = Buffer.alloc(SECTOR);
    await device.read(sector, at);
    damageSector(sector, next);
    await device.write(sector, at);
  }
  if (kind.type === 'btrfs') await sumUp(device, damaged);
}

function damageSector(sector: Buffer, next: () => number): void {
  const pick = (below: number): number => Math.floor(next() * below);
  const used = [...sector.keys()].filter((index) => sector[index] !== 0);
  const at = next() < 0.7 && used.length > 0 ? (used[pick(used.length)] ?? 0) : pick(SECTOR);
  const value = INTERESTING[pick(INTERESTING.length)] ?? 0;
  switch (pick(6)) {
    case 0:
      sector[at] = pick(256);
      break;
    case 1:
      sector[at] = (sector[at] ?? 0) ^ (1 << pick(8));
      break;
    case 2:
      sector.writeUInt16LE(value & 0xffff, Math.min(at & ~1, SECTOR - 2));
      break;
    case 3:
      sector.writeUInt32LE(value, Math.min(at & ~3, SECTOR - 4));
      break;
    case 4:
      sector.writeUInt32BE(value, Math.min(at & ~3, SECTOR - 4));
      break;
    default:
      sector.copyWithin(pick(SECTOR), at, Math.min(SECTOR, at + 4 + pick(60)));
  }
}

/** btrfs reads no block whose sum is wrong: the first 32 bytes of each have that of the others. */
async function sumUp(device: ReturnType<typeof copyOf>, sectors: readonly number[]): Promise<void> {
  const [SUPER, SUPER_SIZE, NODE] = [64 * KIB, 4 * KIB, 16 * KIB];
  const blocks = new Map(
    sectors.map((at) => (at >> 12 === SUPER >> 12 ? [SUPER, SUPER_SIZE] : [at - (at % NODE), NODE])),
  );
  for (const [at, length] of blocks) {
    const block = Buffer.alloc(length);
    await device.read(block, at);
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(~crc32c(block.subarray(32)) >>> 0);
    await device.write(sum, at);
  }
}

/** Everything that a user might do with what is there. Any of it may fail, with a code. */
async function use(mounted: MountedFilesystem, failed: (error: unknown) => void): Promise<void> {
  const { promises } = mounted;
  const attempt = async <T>(work: Promise<T>): Promise<T | undefined> =>
    work.catch((error: unknown) => {
      failed(error);
      return undefined;
    });
  await attempt(promises.statfs('/'));
  const folders = ['/'];
  const files: string[] = [];
  for (const folder of folders) {
    const entries = (await attempt(promises.readdir(folder, { withFileTypes: true }))) ?? [];
    for (const { name } of entries.slice(0, 12)) {
      const path = `${folder === '/' ? '' : folder}/${name}`;
      const found = await attempt(promises.lstat(path));
      await attempt(mounted.listxattr({ path, isLink: true }));
      if (found?.isSymbolicLink()) await attempt(promises.readlink(path));
      else if (found?.isDirectory() && folders.length < 4) folders.push(path);
      else if (found?.isFile()) files.push(path);
    }
  }
  for (const path of files.slice(0, 6)) {
    const handle = await attempt(promises.open(path, 'r'));
    if (!handle) continue;
    const { size } = (await attempt(handle.stat())) ?? { size: 0 };
    for (const at of [0, Math.max(0, size - 1000)]) await attempt(handle.read(Buffer.alloc(9000), 0, 9000, at));
    await attempt(handle.close());
  }
  if (mounted.isReadOnly) return;
  await attempt(promises.writeFile('/new', Buffer.alloc(9000, DATA)));
  await attempt(promises.appendFile(files[0] ?? '/new', 'more'));
  await attempt(promises.mkdir('/made'));
  await attempt(promises.rename(files[1] ?? '/new', '/made/moved'));
  await attempt(promises.truncate(files[2] ?? '/new', 100));
  await attempt(promises.unlink(files[3] ?? '/new'));
  await attempt(mounted.setxattr({ path: '/new' }, 'user.x', Buffer.alloc(50, DATA)));
  await attempt(mounted.sync());
}

/** Seconds without work for a disk after which a kernel counts as hung, and those of everything else. */
const [PATIENCE, LIMIT] = [8, 60];
/** Images of one kernel at most: what one has left behind should not end it at another's. */
const AT_MOST = 1000;

/**
 * Attacks a kernel with images of one kind.
 * @param seed the first image's; each has the next
 * @param progress is told of every 500 images
 */
export async function attack(
  path: string,
  folder: string,
  name: string,
  images: number,
  seed: number,
  progress: (found: Findings) => void = () => undefined,
): Promise<Findings> {
  const kind = KINDS[name];
  if (!kind) throw new Error(`${name} is not in the table`);
  const findings: Findings = { images: 0, mounted: 0, refused: {}, deaths: {}, problems: [] };
  const start = (): Promise<Kernel> => Kernel.start({ path, patience: PATIENCE, memory: 96 << 20 });
  let kernel = await start();
  const sound = await soundImage(kernel, folder, kind);
  await one(kernel, kind, copyOf(sound), kind.isReadOnly ?? false, findings, (error) => {
    // Not all filesystems have attributes. Nothing else fails in one that is sound.
    if (codeOf(error) !== 'ENOTSUP') findings.problems.push(`${name}, before it is damaged: ${messageOf(error)}`);
  });
  for (let index = 0; index < images; index++) {
    if (kernel.end !== undefined || (index + 1) % AT_MOST === 0) {
      if (kernel.end) count(findings.deaths, wordsOf(kernel.end));
      else await kernel.close();
      kernel = await start();
    }
    const next = random(seed + index);
    const device = copyOf(sound);
    await damage(device, sound, kind, next);
    const failed = (error: unknown): void => {
      if (typeof (error as { code?: unknown }).code !== 'string')
        findings.problems.push(`${name}, seed ${seed + index}: ${(error as Error).stack ?? String(error)}`);
    };
    const isReadOnly = kind.isReadOnly ?? next() < 0.3;
    const { reached, cancel } = limit();
    const done = await Promise.race([one(kernel, kind, device, isReadOnly, findings, failed), reached]);
    cancel();
    if (!done) {
      findings.problems.push(`${name}, seed ${seed + index}: still at work after ${LIMIT} s`);
      kernel.kill();
      await kernel.ended;
    }
    findings.images++;
    if (findings.images % 500 === 0) progress(findings);
  }
  if (!kernel.end) await kernel.close();
  else count(findings.deaths, wordsOf(kernel.end));
  return findings;
}

async function one(
  kernel: Kernel,
  { type }: Kind,
  device: BlockBackend,
  isReadOnly: boolean,
  findings: Findings,
  failed: (error: unknown) => void,
): Promise<true> {
  let mounted: MountedFilesystem;
  try {
    // One that cannot be unmounted must not keep the others from being mounted: they have the same UUID.
    const options = type === 'xfs' ? { options: 'nouuid' } : {};
    mounted = await new Disk(device, kernel, isReadOnly).mount({ filesystem: type, ...options });
  } catch (error) {
    failed(error);
    count(findings.refused, (error as { code: string }).code);
    return true;
  }
  findings.mounted++;
  await use(mounted, failed);
  try {
    await mounted.unmount();
  } catch (error) {
    failed(error);
    await mounted.unmount().catch(failed); // what could not be made durable is lost
  }
  return true;
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

/** The first line that says why, without addresses. */
function wordsOf(end: Error): string {
  const lines = end.message.split('\n');
  const why = lines.find((line) => /BUG|panic|fault|hangs|failure/i.test(line)) ?? lines.join(' | ');
  return why.replace(/0x[0-9a-f]+|\b[0-9a-f]{8,}\b/g, '…').replace(/^\[[^\]]*\]\s*/, '');
}

/** Counts seconds in which this process ran: a machine that was suspended is no hang. */
function limit(): { readonly reached: Promise<false>; readonly cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let left = LIMIT;
  const reached = new Promise<false>((resolve) => {
    timer = setInterval(() => (left-- > 0 ? undefined : resolve(false)), 1000);
  });
  return { reached, cancel: () => clearInterval(timer) };
}
