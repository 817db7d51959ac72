/** Files of this machine as entries, and entries as files of this machine. */
import { chmodSync, lutimesSync, writeFileSync } from 'node:fs';
import { lstat, mkdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { file, isZero } from '@nodeos/block';
import { codeOf, NodeosError } from '@nodeos/base';
import { fromDirectory, fromFile, type Entry, type Tree } from '@nodeos/tree';

/** Bytes of a file that is written at once. */
const SMALL = 64 << 10;

/** A file or a folder of this machine, under another name. Files belong to root; modes and times are kept. */
export async function* hostTree(path: string, name: string): Tree {
  const found = await lstat(path).catch((error: unknown) => {
    throw codeOf(error) === 'ENOENT' ? new NodeosError(`${path}: there is no such file`) : error;
  });
  if (found.isDirectory()) yield* fromDirectory(path, { prefix: name, keepsAttributes: true, hardLinks: true });
  else yield fromFile(path, name, { keepsAttributes: true });
}

export const isHostFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

export interface HostOptions {
  readonly signal: AbortSignal;
  readonly onEntry?: (entry: Entry) => void;
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Writes entries below a folder of this machine. Whoever runs this owns them. Files that are there are replaced, each in
 * one step. No link in the folder is followed.
 * @returns what was left out or changed, a line each
 */
export async function writeToHost(tree: Tree, to: string, options: HostOptions): Promise<string[]> {
  const folders: Entry[] = [];
  const special: string[] = [];
  let setId = 0;
  for await (const entry of tree) {
    options.signal.throwIfAborted();
    options.onEntry?.(entry);
    if (entry.mode & 0o6000) setId++;
    if (entry.type === 'directory') folders.push(entry);
    const write = WRITERS[entry.type];
    if (write) await write(entry, join(to, entry.path), options);
    else special.push(entry.path);
  }
  // Last, so that a folder that nobody may write could be filled, and keeps its time.
  for (const folder of folders.reverse()) setAttributes(folder, join(to, folder.path));
  return [
    ...(special.length > 0 ? [`${special.length} devices and pipes are left out, such as ${special[0]}`] : []),
    ...(setId > 0 ? [`${setId} files lost their set-id bits`] : []),
  ];
}

const WRITERS: Partial<Record<Entry['type'], (entry: Entry, path: string, options: HostOptions) => Promise<void>>> = {
  directory: (_, path) => makeFolder(path),
  symlink: ({ link = '' }, path) => replace(path, (at) => symlink(link, at)),
  file: (entry, path, options) => replace(path, (at) => writeFile(entry, at, options)),
};

/** What is there could be a link out of the folder. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path).catch(async (error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error;
    if (!(await lstat(path)).isDirectory()) throw new NodeosError(`${path} is there, and is no folder`);
  });
}

/** A name that is free is used at once; what is there is replaced when the new file is complete. */
async function replace(path: string, make: (path: string) => Promise<void>): Promise<void> {
  const isFree = await lstat(path).then(
    () => false,
    () => true,
  );
  const at = isFree ? path : join(dirname(path), `.${basename(path).slice(0, 50)}.${process.pid}`);
  try {
    await make(at);
    if (!isFree) await rename(at, path);
  } catch (error) {
    await rm(at, { force: true });
    throw error;
  }
}

/** Promises for the system calls of a small file would take longer than the file. */
async function writeFile(entry: Entry, path: string, options: HostOptions): Promise<void> {
  if (entry.size <= SMALL) writeFileSync(path, await wholeOf(entry, options), { flag: 'wx' });
  else await writeWithHoles(entry, path, options);
  setAttributes(entry, path);
}

async function wholeOf(entry: Entry, { onBytes }: HostOptions): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const bytes of entry.open?.() ?? []) parts.push(bytes);
  onBytes?.(entry.size);
  return Buffer.concat(parts, entry.size);
}

async function writeWithHoles(entry: Entry, path: string, { signal, onBytes }: HostOptions): Promise<void> {
  const to = await file(path, { create: entry.size });
  try {
    let at = 0;
    for await (const bytes of entry.open?.() ?? []) {
      signal.throwIfAborted();
      if (!isZero(bytes)) await to.write?.(bytes, at); // zeros stay holes
      at += bytes.length;
      onBytes?.(bytes.length);
    }
  } finally {
    await to.close();
  }
}

function setAttributes({ mode, mtime, nanoseconds = 0 }: Entry, path: string): void {
  chmodSync(path, mode & 0o1777);
  const seconds = mtime + nanoseconds / 1e9;
  lutimesSync(path, seconds, seconds);
}
