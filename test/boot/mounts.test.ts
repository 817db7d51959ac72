/** Filesystems that packages/fs writes, judged by the kernel: a guest mounts them, and says what it finds. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { chmod, mkdir, open, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { random, regions, writeImage } from '@nodeos/block';
import { fat, iso, type FatOptions, type Image } from '@nodeos/fs';
import { fromDirectory, type Tree } from '@nodeos/tree';
import { describe, expect, it } from 'vitest';
import { exec, LONG, temporary } from '../support.js';

const MIB = 1 << 20;
const GIB = 2 ** 30;
/** Bytes. Of a larger file, only some places are compared. */
const LARGE = 8 * MIB;
/** Seconds. FAT counts from 1980 on, in steps of two. */
const [FIRST, LAST] = [315_619_200, 1_900_000_000];
/** Names that are hard for one format or another. */
const NAMES = [
  ...['README.TXT', 'readme.md', '.hidden', 'tar.gz.sig', 'a long name with spaces.conf', ' leading', '[x]=+,;'],
  ...['Ünïcödé – 日本語.txt', '🙂 outside of the first plane', 'ü'.repeat(13), 'x'.repeat(240), '__proto__'],
  ...[1, 2].map((end) => `${'the same at its start '.repeat(4)}${end}`),
];
const SIZES = [0, 1, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 65_536, MIB + 1];
/** Files that are mostly holes: the largest that FAT holds, and one that needs several records of a CD. */
const HUGE = { large: 2 ** 32 - 1, larger: 2 ** 32 + 5000 } as const;

/** What is known of a file. */
interface Found {
  readonly type: string;
  readonly size: number;
  readonly mtime: number;
  readonly mode: number;
  /** A checksum of the content, or the target of a link. */
  readonly content: string;
}
type Listing = Record<string, Found>;
type Modules = { readonly fs: typeof fs; readonly crypto: typeof crypto };

/** All files of a folder, by path. This function also runs in the guest, as text. */
function listing({ fs, crypto }: Modules, root: string, large: number): Listing {
  const PIECE = 1 << 16;
  const found = Object.create(null) as Listing;
  const sumOf = (path: string, size: number): string => {
    const [hash, piece, fd] = [crypto.createHash('sha256'), Buffer.alloc(PIECE), fs.openSync(path, 'r')];
    const places =
      size <= large
        ? Array.from({ length: Math.ceil(size / PIECE) }, (_, index) => index * PIECE)
        : [0, 2 ** 31 - PIECE / 2, 2 ** 32 - PIECE / 2, size - PIECE];
    for (const at of places) hash.update(piece.subarray(0, fs.readSync(fd, piece, 0, PIECE, at)));
    fs.closeSync(fd);
    return hash.digest('hex').slice(0, 16);
  };
  for (const path of fs.readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    const full = `${root}/${path}`;
    const stat = fs.lstatSync(full);
    const type = stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : 'file';
    const content = { directory: () => '', symlink: () => fs.readlinkSync(full), file: () => sumOf(full, stat.size) };
    const size = type === 'file' ? stat.size : 0;
    found[path] = { type, size, mtime: stat.mtimeMs / 1000, mode: stat.mode & 0o7777, content: content[type]() };
  }
  return found;
}

/** A folder with files of all those names and sizes, with deep and wide folders, and with times of its own. */
async function folderOfAll(): Promise<string> {
  const folder = await temporary();
  const next = random(7);
  const below = (end: number): number => Math.floor(next() * end);
  const noise = Buffer.from(Array.from({ length: 4 * MIB }, () => below(256)));
  const paths = [
    ...NAMES,
    ...NAMES.map((name, index) => `folder ${index}/${name}`),
    ...Array.from({ length: 300 }, (_, index) => `wide/${index}${'-'.repeat(below(90))}`),
    `${'deep/'.repeat(20)}end`,
  ];
  for (const [index, path] of paths.entries()) {
    const at = below(MIB);
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), noise.subarray(at, at + (SIZES[index % SIZES.length] ?? 0)));
  }
  for (const [name, size] of Object.entries(HUGE)) {
    const handle = await open(join(folder, name), 'w');
    await handle.truncate(size);
    for (const at of [0, 2 ** 31 - 100, 2 ** 32 - 301, size - 200]) await handle.write(noise, 0, 200, at);
    await handle.close();
  }
  await chmod(join(folder, 'readme.md'), 0o755);
  await symlink(`../${'far/'.repeat(60)}away`, join(folder, 'link'));
  // The deepest first: a change in a folder is also a change of its time.
  for (const path of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).reverse()) {
    const time = FIRST + 2 * below((LAST - FIRST) / 2);
    fs.lutimesSync(join(folder, path), time, time);
  }
  return folder;
}

/** The folder's files with their times. */
async function* timed(folder: string, leftOut: readonly string[] = []): Tree {
  for await (const entry of fromDirectory(folder, { filter: (path) => !leftOut.includes(path) }))
    yield { ...entry, mtime: fs.lstatSync(join(folder, entry.path)).mtimeMs / 1000 };
}

async function imageFile({ regions: list, size }: Image): Promise<string> {
  const path = join(await temporary(), 'image');
  const device = regions(list, { size });
  await writeImage(device, path).finally(() => device.close());
  await truncate(path, Math.ceil(size / 4096) * 4096); // QEMU's drives have whole sectors
  return path;
}

interface Mount {
  readonly image: string;
  readonly type: 'vfat' | 'iso9660';
  readonly options: string;
}

/** Mounts the images in one guest. @returns what it finds in each */
async function mounted(mounts: readonly Mount[]): Promise<Listing[]> {
  const images = [...new Set(mounts.map(({ image }) => image))];
  const wanted = mounts.map((mount) => ({
    ...mount,
    device: `/dev/vd${'abcdef'.charAt(images.indexOf(mount.image))}`,
  }));
  const code = `
    const fs = require('fs'), crypto = require('crypto'), syscall = require('/sbin/syscalls.node');
    const [MOUNT, UMOUNT, READ_ONLY] = [165, 166, 1];
    ${listing.toString()}
    fs.mkdirSync('/tmp/mounted');
    for (const { device, type, options } of ${JSON.stringify(wanted)}) {
      const error = syscall(MOUNT, device, '/tmp/mounted', type, READ_ONLY, options);
      if (error < 0) throw new Error(device + ' ' + type + ' ' + options + ': error ' + -error);
      console.log(JSON.stringify(listing({ fs, crypto }, '/tmp/mounted', ${LARGE})));
      syscall(UMOUNT, '/tmp/mounted', 0);
    }`;
  const drives = images.flatMap((path) => ['-drive', `if=virtio,format=raw,readonly=on,file=${path}`]);
  const { status, stdout, stderr } = await exec(code, '--timeout', '400', '--', ...drives);
  expect(status, stderr).toBe(0);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Listing);
}

const without = (listing: Listing, ...paths: string[]): Listing =>
  Object.fromEntries(Object.entries(listing).filter(([path]) => !paths.includes(path)));

/** FAT has none. */
const withoutModes = (listing: Listing): Record<string, Omit<Found, 'mode'>> =>
  Object.fromEntries(
    Object.entries(listing).map(([path, { type, size, mtime, content }]) => [path, { type, size, mtime, content }]),
  );

describe('the kernel mounts', { timeout: LONG }, () => {
  it('FAT of all kinds, and finds names, sizes, times and contents', async () => {
    const folder = await folderOfAll();
    const sizes: readonly [FatOptions, readonly string[]][] = [
      [{ bits: 12, size: 120 * MIB, clusterSize: 32_768 }, ['link', 'large', 'larger']],
      [{ bits: 16, size: 200 * MIB }, ['link', 'large', 'larger']],
      [{ bits: 32, size: 6 * GIB }, ['link', 'larger']],
    ];
    const images = await Promise.all(
      sizes.map(async ([options, leftOut]) => imageFile(await fat(timed(folder, leftOut), options))),
    );
    const found = await mounted(images.map((image) => ({ image, type: 'vfat', options: 'tz=UTC,utf8=1' })));
    const all = listing({ fs, crypto }, folder, LARGE);
    for (const [index, [{ bits }, leftOut]] of sizes.entries()) {
      expect(withoutModes(found[index] ?? {}), `FAT${bits}`).toEqual(withoutModes(without(all, ...leftOut)));
      expect(Object.keys(found[index] ?? {}).length).toBeGreaterThan(350);
    }
  });

  it('a CD by Rock Ridge, by Joliet and by its plain names', async () => {
    const folder = await folderOfAll();
    const image = await imageFile(await iso(timed(folder), { label: 'TEST' }));
    const options = ['', 'norock,iocharset=utf8', 'norock,nojoliet'];
    const found = await mounted(options.map((words) => ({ image, type: 'iso9660', options: words })));
    const [rockRidge = {}, joliet = {}, plain = {}] = found;
    const wanted = listing({ fs, crypto }, folder, LARGE);
    expect(rockRidge).toEqual(wanted);
    // Of other names Joliet has a part: https://pismotec.com/cfs/jolspec.html
    const isWhole = (path: string): boolean =>
      path.split('/').every((name) => name.length <= 64 && !/[*:;?\\]/.test(name));
    const files = Object.entries(wanted).filter(([path, { type }]) => type === 'file' && isWhole(path));
    expect(files.length).toBeGreaterThan(200);
    for (const [path, { size, mtime, content }] of files)
      expect(joliet[path], path).toMatchObject({ type: 'file', size, mtime, content });
    const contents = (listing: Listing): string[] =>
      Object.values(listing)
        .filter(({ type, size }) => type === 'file' && size > 0)
        .map(({ size, content }) => `${size} ${content}`)
        .sort();
    expect(contents(joliet)).toEqual(contents(wanted));
    expect(contents(plain)).toEqual(contents(wanted));
    expect(Object.keys(plain)).toContain('readme.txt');
  });
});
