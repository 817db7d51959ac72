/** nodeos image cp: files into images, out of them, and between them. */
import { basename, dirname, posix, resolve } from 'node:path';
import { NodeosError, UsageError } from '@nodeos/base';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import type { Entry, Tree } from '@nodeos/tree';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { jsonObjectOf } from '../json-options.js';
import { catFile } from './cat.js';
import { counter, type Counter } from './counter.js';
import { hostTree, isHostFolder, writeToHost } from './host.js';
import { writeToImage } from './into.js';
import { locationOf, notRoot, type Location } from './location.js';
import { filesOf, withFiles, withMounted, type Files } from './open.js';
import { renamed, withoutFolders } from './renamed.js';
import { standardInput, writeStream } from './streams.js';

/** Standard input or standard output. */
const STREAM = '-';

export const cpCommand: Command = {
  name: 'image cp',
  summary: 'Copies files into an image, out of it, or between two. Modes and times are kept.',
  operands: 'FROM… TO',
  options: {
    recursive: { type: 'boolean', short: 'r', help: 'folders with all that is in them' },
    owner: { type: 'string', value: 'UID[:GID]', help: 'the owner of what is copied into an image (default: root, or that in the other image)' }, // prettier-ignore
    json: jsonObjectOf('what was copied'),
  },
  examples: [
    ['nodeos image cp config.json sdcard.img:1/', 'a file into a folder of the first partition'],
    ['nodeos image cp -r root.ext4/etc etc', 'a folder out of an image'],
    ['nodeos image cp -r old.ext4/home new.xfs:/', 'between two images'],
    ['date | nodeos image cp - root.ext4/etc/built', 'what a program writes'],
  ],
  async run(args, io) {
    const operands = args.operands;
    const to = operands.at(-1);
    if (to === undefined || operands.length < 2)
      throw new UsageError('nodeos image cp FROM… TO: two names at least', { hint: 'see nodeos image cp --help' });
    const owner = ownerOf(args);
    const sources = await Promise.all(operands.slice(0, -1).map(sideOf));
    const target = await sideOf(to);
    checkSides(sources, target);
    const count = counter('copied', io);
    try {
      const left = await copyAll(sources, target, { args, io, count, owner });
      count.close();
      for (const line of left) printMessage(io, line);
      const { files, bytes } = count;
      if (args.flag('json')) io.stdout.write(`${JSON.stringify({ event: 'done', files, bytes, notes: left })}\n`);
    } finally {
      count.close();
    }
    return 0;
  },
};

/** One end of a copy: a place in an image, a path of this machine, or a stream. */
type Side = Location | { readonly host: string } | typeof STREAM;

/** An image without a colon or a path behind its name is a file like any other. */
async function sideOf(text: string): Promise<Side> {
  if (text === STREAM) return STREAM;
  const location = await locationOf(text);
  return location.isInside ? location : { host: text };
}

const isImage = (side: Side): side is Location => typeof side === 'object' && 'source' in side;

function checkSides(sources: readonly Side[], target: Side): void {
  if (!isImage(target) && !sources.every(isImage))
    throw new UsageError('nothing here names a place in an image', {
      hint: 'behind the name of an image comes a partition or a path: disk.img:1/etc, root.ext4/etc, root.ext4:/',
    });
  if (sources.length > 1 && (target === STREAM || sources.includes(STREAM)))
    throw new UsageError('a stream is one file: name one FROM');
}

function ownerOf(args: Parsed): Partial<Entry> {
  const text = args.text('owner');
  if (text === undefined) return {};
  const [, uid, gid = uid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
  if (uid === undefined) throw new UsageError(`--owner ${text}: expected numbers, as 1000:1000: names are the image's`);
  return { uid: Number(uid), gid: Number(gid) };
}

interface Copying {
  readonly args: Parsed;
  readonly io: Io;
  readonly count: Counter;
  readonly owner: Partial<Entry>;
}

/** @returns what was left out or changed, a line each */
async function copyAll(sources: readonly Side[], target: Side, copying: Copying): Promise<string[]> {
  const { io } = copying;
  if (target === STREAM) {
    for (const source of sources) if (isImage(source)) await catFile(source, io);
    return [];
  }
  if (isImage(target)) return withMounted(target, io, (mounted) => copyIntoImage(sources, target, mounted, copying));
  const left: string[] = [];
  for (const source of sources) left.push(...(await copyToHost(source as Location, target.host, copying, sources)));
  return left;
}

async function copyToHost(
  source: Location,
  to: string,
  { args, io, count }: Copying,
  { length }: readonly Side[],
): Promise<string[]> {
  const isFolder = await isHostFolder(to);
  if (!isFolder && (length > 1 || to.endsWith('/'))) throw new NodeosError(`${to}: there is no such folder`);
  const [folder, name] = isFolder ? [to, posix.basename(source.path)] : [dirname(resolve(to)), basename(to)];
  return withFiles(source, io, (files) =>
    writeToHost(checked(renamed(files, source.path, name, io), source.text, args), folder, {
      ...count,
      signal: io.signal,
    }),
  );
}

async function copyIntoImage(
  sources: readonly Side[],
  target: Location,
  mounted: MountedFilesystem,
  { args, io, count, owner }: Copying,
): Promise<string[]> {
  const found = await mounted.promises.stat(target.path).catch(() => undefined);
  const isFolder = found?.isDirectory() ?? false;
  if (!isFolder && (sources.length > 1 || target.isFolder))
    throw new NodeosError(`${target.text}: there is no such folder in it`);
  if (!found) await mounted.promises.access(posix.dirname(target.path));
  const left: string[] = [];
  for (const source of sources) {
    if (source === STREAM) {
      if (isFolder) throw new UsageError(`${target.text} is a folder: name a file`);
      notRoot(target);
      count.onBytes(await writeStream(mounted, target.path, standardInput(io), { signal: io.signal, ...owner }));
      continue;
    }
    const [folder, name] = isFolder
      ? [target.path, nameOf(source)]
      : [posix.dirname(target.path), posix.basename(target.path)];
    const write = (tree: Tree, text: string): Promise<string[]> =>
      writeToImage(mounted, owned(checked(tree, text, args), owner), { ...count, path: folder, signal: io.signal });
    left.push(...(await withSource(source, name, target, mounted, io, write)));
  }
  await mounted.sync();
  return left;
}

/** Another place of the same filesystem is read where it is mounted. */
async function withSource(
  source: Location | { readonly host: string },
  name: string,
  target: Location,
  mounted: MountedFilesystem,
  io: Io,
  write: (tree: Tree, text: string) => Promise<string[]>,
): Promise<string[]> {
  if (!isImage(source)) return write(hostTree(source.host, name), source.host);
  const from = (files: Files): Promise<string[]> => write(renamed(files, source.path, name, io), source.text);
  const isSame = source.source === target.source && source.partition === target.partition;
  if (!isSame) return withFiles(source, io, from);
  const into = posix.join(target.path, name);
  if (into === source.path || into.startsWith(`${source.path.replace(/\/$/, '')}/`))
    throw new UsageError(`${source.text} cannot be copied into itself`);
  return from(filesOf(mounted));
}

const nameOf = (side: Exclude<Side, typeof STREAM>): string =>
  isImage(side) ? posix.basename(side.path) : basename(resolve(side.host));

/** Its errors: UsageError for a folder without `--recursive`. */
const checked = (tree: Tree, text: string, args: Parsed): Tree =>
  args.flag('recursive')
    ? tree
    : withoutFolders(
        tree,
        () => new UsageError(`${text} is a folder`, { hint: 'with all that is in it: --recursive' }),
      );

async function* owned(tree: Tree, owner: Partial<Entry>): Tree {
  for await (const entry of tree) yield { ...entry, ...owner };
}
