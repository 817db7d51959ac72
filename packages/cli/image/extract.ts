/** nodeos image extract: unpacks a filesystem into a new folder. */
import { chmod, lutimes, mkdir, readdir, rename, rm, rmdir, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { file, isZero } from '@nodeos/block';
import { codeOf, folderBeside, messageOf, NodeosError } from '@nodeos/base';
import type { ImageReader } from '@nodeos/fs';
import type { Entry } from '@nodeos/tree';
import { printMessage, type Command, type Io } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { entriesBelow, withImage } from './open.js';

export const extractCommand: Command = {
  name: 'image extract',
  summary: 'Unpacks a filesystem into a new folder. Files belong to whoever runs this.',
  operands: 'SOURCE FOLDER',
  options: {},
  examples: [['nodeos image extract partition:1:nodeos.img esp', 'the files of the ESP']],
  async run(args, io) {
    const [source = '', folder = ''] = operandsOf('image extract', args, 'SOURCE', 'FOLDER');
    await checkNew(folder);
    // Whole or not at all: an interrupted command leaves no half of it.
    const to = resolve(folder);
    const temporary = await folderBeside(to);
    try {
      const tree = join(temporary, 'tree');
      await mkdir(tree);
      const left = await withImage(source, io, (image) => extract(image, tree, io));
      await rmdir(to).catch(() => undefined);
      await rename(tree, to);
      for (const line of left) printMessage(io, line);
      return 0;
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  },
};

/** What is there could be a link out of the folder. @throws NodeosError if the folder is there and not empty */
async function checkNew(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw new NodeosError(`cannot unpack into ${folder}: ${messageOf(error)}`);
  });
  if (names.length > 0) throw new NodeosError(`${folder} is there, and is not empty`, { hint: 'name a new folder' });
}

/** @returns what was left out or changed, a line each */
async function extract(image: ImageReader, to: string, io: Io): Promise<string[]> {
  const folders: Entry[] = [];
  const special: string[] = [];
  let setId = 0;
  for await (const entry of entriesBelow(image, '', io)) {
    if (entry.mode & 0o6000) setId++;
    if (entry.type === 'directory') folders.push(entry);
    const write = WRITERS[entry.type];
    if (write) await write(entry, join(to, entry.path), io);
    else special.push(entry.path);
  }
  // Last, so that a folder that nobody may write could be filled, and keeps its time.
  for (const folder of folders.reverse()) await setAttributes(folder, join(to, folder.path));
  return [
    ...(special.length > 0 ? [`${special.length} devices and pipes are left out, such as ${special[0]}`] : []),
    ...(setId > 0 ? [`${setId} files lost their set-id bits`] : []),
  ];
}

const WRITERS: Partial<Record<Entry['type'], (entry: Entry, path: string, io: Io) => Promise<void>>> = {
  directory: (_, path) => mkdir(path),
  symlink: async ({ link = '' }, path) => symlink(link, path),
  async file(entry, path, { signal }) {
    const to = await file(path, { create: entry.size });
    try {
      let at = 0;
      for await (const bytes of entry.open?.() ?? []) {
        signal.throwIfAborted();
        if (!isZero(bytes)) await to.write?.(bytes, at); // zeros stay holes
        at += bytes.length;
      }
    } finally {
      await to.close();
    }
    await setAttributes(entry, path);
  },
};

async function setAttributes({ mode, mtime }: Entry, path: string): Promise<void> {
  await chmod(path, mode & 0o1777);
  await lutimes(path, mtime, mtime);
}
