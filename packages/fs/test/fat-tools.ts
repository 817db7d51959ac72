/** Judges of FAT volumes: dosfstools and mtools. */
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { regions, writeImage, type BlockBackend } from '@nodeos/block';
import type { Entry, Tree } from '@nodeos/tree';
import { fat, readFat, type FatOptions } from '../index.js';

/** Debian installs dosfstools in a folder that only root has in PATH. */
const env = {
  ...process.env,
  PATH: `${process.env['PATH']}:/usr/sbin:/sbin`,
  LC_ALL: 'C.UTF-8',
  TZ: 'UTC',
};

export const lacking = ['fsck.fat', 'mkfs.fat', 'mcopy', 'mdir', 'mtype'].filter(
  (tool) => spawnSync(tool, ['--help'], { env }).error !== undefined,
);
/** For the name of a test that needs them. */
export const lackingNote = lacking.map((what) => ` (not here: ${what})`).join('');

export const tool = (name: string, ...args: string[]): string =>
  execFileSync(name, args, { env, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 }).toString();

/** @throws Error with what fsck.fat found. @returns the clusters that it counted */
export function check(image: string): { used: number; clusters: number } {
  const [, used, clusters] = /(\d+)\/(\d+) clusters/.exec(tool('fsck.fat', '-n', image)) ?? [];
  return { used: Number(used), clusters: Number(clusters) };
}

export type Files = Record<string, string>;
const none = (): Files => Object.create(null) as Files; // makes __proto__ an ordinary name

/** All files that mcopy extracts: contents in latin1, and `/` for a folder. */
export function extracted(image: string, withTimes = false): Files {
  const to = `${image}.d`;
  mkdirSync(to);
  tool('mcopy', '-s', '-n', ...(withTimes ? ['-m'] : []), '-i', image, '::/', to);
  const found = filesBelow(to, withTimes);
  rmSync(to, { recursive: true });
  return found;
}

/** The files of a folder of this machine, in the same form. */
export function filesBelow(folder: string, withTimes = false): Files {
  const found = none();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const stat = lstatSync(join(folder, name));
    const time = withTimes ? `${stat.mtimeMs / 1000} ` : '';
    found[name] = stat.isDirectory() ? '/' : time + readFileSync(join(folder, name)).toString('latin1');
  }
  return found;
}

/** The same with our reader. */
export async function read(device: BlockBackend): Promise<Files> {
  const found = none();
  for await (const entry of (await readFat(device)).entries()) found[entry.path] = await contentOf(entry);
  return found;
}

export async function contentOf(entry: Entry): Promise<string> {
  if (entry.type === 'directory') return '/';
  const whole = await bytesFrom(entry, 0);
  const middle = Math.ceil(whole.length / 3);
  if (!whole.subarray(middle).equals(await bytesFrom(entry, middle)))
    throw new Error(`${entry.path}: from byte ${middle} on it has another content`);
  return whole.toString('latin1');
}

export async function bytesFrom(entry: Entry, offset: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const bytes of entry.open?.(offset) ?? []) parts.push(bytes);
  return Buffer.concat(parts);
}

export async function device(entries: Iterable<Entry> | Tree, options: FatOptions): Promise<BlockBackend> {
  const image = await fat(entries, options);
  return regions(image.regions, { size: image.size });
}

export async function write(entries: Iterable<Entry> | Tree, options: FatOptions, path: string): Promise<string> {
  const disk = await device(entries, options);
  await writeImage(disk, path);
  await disk.close();
  return path;
}

/** The volume in memory. */
export async function bytesOf(entries: Iterable<Entry>, options: FatOptions): Promise<Buffer> {
  const bytes = Buffer.alloc(options.size);
  await (await device(entries, options)).read(bytes, 0);
  return bytes;
}

export const deviceOf = (bytes: Buffer): BlockBackend => ({
  size: bytes.length,
  read: (into, at) => into.set(bytes.subarray(at, at + into.length)),
  close: () => undefined,
});
