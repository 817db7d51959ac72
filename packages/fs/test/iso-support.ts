/** What the tests of the ISO 9660 writer and reader share. */
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { regions, writeImage, type BlockBackend } from '@nodeos/block';
import type { Entry, Tree } from '@nodeos/tree';
import { iso, type IsoOptions } from '../iso.js';
import { bytesFrom } from './fat-tools.js';

/** The tools that this machine does not have, and the same for the title of a suite. */
export function lackingOf(...tools: readonly string[]): { lacking: readonly string[]; notHere: string } {
  const lacking = tools.filter((tool) => spawnSync(tool, ['-version']).error !== undefined);
  return { lacking, notHere: lacking.map((what) => ` (not here: ${what})`).join('') };
}

export async function imageDevice(
  tree: Tree | Iterable<Entry>,
  options: Partial<IsoOptions> = {},
): Promise<BlockBackend> {
  const { regions: list, size } = await iso(tree, { label: 'TEST', ...options });
  return regions(list, { size });
}

export async function imageFile(
  path: string,
  tree: Tree | Iterable<Entry>,
  options: Partial<IsoOptions> = {},
): Promise<string> {
  const device = await imageDevice(tree, options);
  await writeImage(device, path);
  await device.close();
  return path;
}

export async function imageBytes(tree: Tree | Iterable<Entry>, options: Partial<IsoOptions> = {}): Promise<Buffer> {
  const device = await imageDevice(tree, options);
  const bytes = Buffer.alloc(device.size);
  await device.read(bytes, 0);
  await device.close();
  return bytes;
}

/** A device with these bytes. Changes of the bytes are changes of the device. */
export function bytesDevice(bytes: Buffer): BlockBackend {
  return {
    size: bytes.length,
    read: (into, offset) => into.set(bytes.subarray(offset, offset + into.length)),
    close: () => undefined,
  };
}

/** Each path with its type and mode, and its content or target. */
export type Listing = Record<string, string>;

/** Makes `__proto__` an ordinary name. */
export const emptyListing = (): Listing => Object.create(null) as Listing;

/** The files that xorriso extracts. */
export function extracted(path: string): Listing {
  const to = `${path}.d`;
  execFileSync('xorriso', ['-osirrox', 'on', '-indev', path, '-extract', '/', to], { stdio: 'pipe' });
  const found = listingOf(to);
  rmSync(to, { recursive: true, force: true });
  return found;
}

export function listingOf(folder: string): Listing {
  const found = emptyListing();
  const pending = readdirSync(folder);
  for (const name of pending) {
    const stat = lstatSync(join(folder, name));
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isSymbolicLink()) found[name] = `-> ${readlinkSync(join(folder, name))}`;
    else if (stat.isFile()) found[name] = `${mode} ${readFileSync(join(folder, name)).toString('latin1')}`;
    else if (stat.isDirectory()) {
      found[name] = `${mode}/`;
      pending.push(...readdirSync(join(folder, name)).map((child) => `${name}/${child}`));
    }
  }
  return found;
}

/** The same for a tree. */
export async function listingOfTree(tree: Tree): Promise<Listing> {
  const found = emptyListing();
  for await (const entry of tree) {
    const mode = entry.mode.toString(8);
    if (entry.type === 'symlink') found[entry.path] = `-> ${entry.link}`;
    else if (entry.type === 'directory') found[entry.path] = `${mode}/`;
    else if (entry.type === 'file') found[entry.path] = `${mode} ${(await contentOf(entry)).toString('latin1')}`;
  }
  return found;
}

export async function contentOf(entry: Entry): Promise<Buffer> {
  const whole = await bytesFrom(entry, 0);
  const middle = Math.ceil(whole.length / 3);
  if (!whole.subarray(middle).equals(await bytesFrom(entry, middle)))
    throw new Error(`${entry.path}: from byte ${middle} on it has another content`);
  return whole;
}

/** What a tool says, each byte as a character: isoinfo has no UTF-8 for Joliet. */
export const judge = (tool: string, ...args: string[]): string =>
  execFileSync(tool, args, { stdio: 'pipe', maxBuffer: 1 << 26, env: { ...process.env, TZ: 'UTC' } }).toString(
    'latin1',
  );
