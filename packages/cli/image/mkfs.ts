/** nodeos image mkfs: a new filesystem, in a new file or in what is there. */
import { createReadStream } from 'node:fs';
import { stat, truncate, writeFile } from 'node:fs/promises';
import { file, partitions, regions, writeImage, type BlockBackend } from '@nodeos/block';
import { codeOf, formatSize, NodeosError, parseSize, replaceFile, UsageError } from '@nodeos/base';
import { run } from '@nodeos/engine';
import { iso } from '@nodeos/fs';
import { open, probe } from '@nodeos/linuxfs';
import { fromDirectory, readTar, type Entry, type Tree } from '@nodeos/tree';
import { printMessage, type Command, type Io } from '../command.js';
import { jsonObjectOf } from '../json-options.js';
import { checkProgram, withInstalled } from '../missing-tools.js';
import { FORMATS } from '../oci/formats.js';
import { copyBack, locked, openDevice, ownFile, withCopy } from './file.js';
import { writeToImage } from './into.js';
import { kernelPath } from './kernel.js';
import { oneLocation, type Location } from './location.js';
import { PROGRAMS } from './programs.js';

export const mkfsCommand: Command = {
  name: 'image mkfs',
  summary: "Makes a filesystem by this machine's programs, and puts files into it.",
  operands: 'IMAGE[:PARTITION]',
  options: {
    type: { type: 'string', short: 't', value: 'TYPE', help: "ext4, xfs … (default: what the file's name ends with)" },
    size: { type: 'string', short: 's', value: 'SIZE', help: 'of a new file, such as 512M' },
    label: { type: 'string', short: 'L', value: 'TEXT', help: 'its label' },
    from: { type: 'string', value: 'FOLDER|FILE', help: 'a folder, or a tar archive, whose files are put into it' },
    force: { type: 'boolean', short: 'f', help: 'also where a filesystem or a partition table is' },
    json: jsonObjectOf('what was made'),
  },
  examples: [
    ['nodeos image mkfs data.ext4 --size 1G --label data', 'an empty filesystem in a new file'],
    ['nodeos image mkfs root.ext4 --size 512M --from rootfs', 'with the files of a folder, all of root'],
    ['nodeos image mkfs sdcard.img:2 --type f2fs --force', 'in a partition, over what is there'],
    ['nodeos image mkfs app.erofs --from app', 'one that is only read'],
  ],
  async run(args, io) {
    const location = await oneLocation('image mkfs', args.operands);
    if (location.path !== '/') throw new UsageError(`${location.text}: a path in a filesystem is no place for one`);
    const text = args.text('size');
    const wanted: Wanted = {
      type: typeOf(args.text('type'), location),
      size: text === undefined ? undefined : parseSize(text, '--size'),
      label: args.text('label'),
      from: args.text('from'),
      force: args.flag('force'),
    };
    const size = await makeAt(location, wanted, io);
    const { type } = wanted;
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ event: 'done', image: location.text, type, size })}\n`);
    else printMessage(io, `${location.text}: ${type}, ${formatSize(size)}`);
    return 0;
  },
};

interface Wanted {
  readonly type: string;
  readonly size: number | undefined;
  readonly label: string | undefined;
  readonly from: string | undefined;
  readonly force: boolean;
}

function typeOf(given: string | undefined, { source }: Location): string {
  const names = Object.keys(PROGRAMS);
  const type = given ?? ENDINGS[/[^.]*$/.exec(source)?.[0] ?? ''] ?? names.find((name) => source.endsWith(`.${name}`));
  if (type !== undefined && names.includes(type)) return type;
  const problem = type === undefined ? 'which filesystem? --type is missing' : `--type ${type} is not known`;
  throw new UsageError(problem, { hint: `the types are ${names.join(', ')}` });
}

const ENDINGS: Readonly<Record<string, string>> = { fat: 'vfat', iso: 'iso9660', sqfs: 'squashfs' };

/** @returns the bytes of the filesystem */
async function makeAt(location: Location, wanted: Wanted, io: Io): Promise<number> {
  const own = await ownFile(location);
  return own === undefined ? makeOnDevice(location, wanted, io) : locked(own, () => makeFile(own, wanted, io));
}

/** A file gets its name when the filesystem is complete. */
async function makeFile(path: string, wanted: Wanted, io: Io): Promise<number> {
  const old = await stat(path).catch(() => undefined);
  if (old) {
    const device = await file(path, { readOnly: true });
    await refuseContents(device, path, wanted).finally(() => device.close());
  }
  await replaceFile(path, (temporary) => make(temporary, { ...wanted, size: wanted.size ?? old?.size }, io));
  return (await stat(path)).size;
}

async function makeOnDevice(location: Location, wanted: Wanted, io: Io): Promise<number> {
  const device = await openDevice(location, io, true);
  try {
    await refuseContents(device, location.text, wanted);
    if ((wanted.size ?? 0) > device.size)
      throw new UsageError(`--size: ${location.text} has ${formatSize(device.size)}`);
    return await withCopy(async (path) => {
      await make(path, { ...wanted, size: wanted.size ?? device.size }, io);
      const { size } = await stat(path);
      if (size > device.size)
        throw new NodeosError(`${location.text} has ${formatSize(device.size)}, and ${formatSize(size)} are needed`);
      await copyBack(path, device, io);
      return size;
    });
  } finally {
    await device.close();
  }
}

async function refuseContents(device: BlockBackend, text: string, { force }: Wanted): Promise<void> {
  if (force) return;
  const found = await probe(device);
  const table = found ? undefined : await partitions(device).catch(() => undefined);
  const what = found ? `a filesystem (${found.type})` : table && 'a partition table';
  if (what) throw new NodeosError(`${text} has ${what}: nothing is changed`, { hint: 'over it: --force' });
}

async function make(path: string, wanted: Wanted, io: Io): Promise<void> {
  const { type, size, label, from } = wanted;
  const line = PROGRAMS[type]?.make?.(label);
  if (!line) return makeOfFiles(path, wanted, io);
  if (size === undefined) throw new UsageError('how large? --size is missing');
  const [program, ...args] = line;
  await withInstalled(io, () => checkProgram(program));
  await writeFile(path, '');
  await truncate(path, size);
  await run(program, [...args, path], { signal: io.signal });
  if (from !== undefined) await fill(path, from, io);
}

async function fill(path: string, from: string, io: Io): Promise<void> {
  const disk = await open(path, { kernel: await kernelPath(io) });
  try {
    const left = await writeToImage(await disk.mount(), await treeFrom(from), { signal: io.signal });
    for (const line of left) printMessage(io, line);
  } catch (error) {
    if (codeOf(error) !== 'ENOSPC') throw error;
    throw new NodeosError(`${from} does not fit`, { hint: 'a larger --size', cause: error });
  } finally {
    await disk.close();
  }
}

async function treeFrom(from: string): Promise<Tree> {
  const found = await stat(from);
  if (found.isDirectory()) return fromDirectory(from, { keepsAttributes: true, hardLinks: true });
  return entriesOf(from);
}

/** The members of an archive as entries. A hard link has no content of its own. */
async function* entriesOf(archive: string): Tree {
  for await (const { type, content, link, ...record } of readTar(createReadStream(archive))) {
    if (type === 'hard-link') yield { ...record, type: 'file', size: 0, ...(link === undefined ? {} : { hardLink: link }) };
    else yield { ...record, type, ...(link === undefined ? {} : { link }), ...(type === 'file' ? { open: () => content } : {}) }; // prettier-ignore
  }
}

/** Those that are only read. Only a folder can be read as often as their writers need. */
async function makeOfFiles(path: string, { type, label, from, size }: Wanted, io: Io): Promise<void> {
  if (from === undefined || !(await stat(from)).isDirectory())
    throw new UsageError(`${type} is made of files: --from FOLDER`);
  if (size !== undefined) printMessage(io, `--size does not count: ${type} is as large as its files`);
  const entries: Entry[] = [];
  for await (const entry of fromDirectory(from, { keepsAttributes: true, hardLinks: type !== 'iso9660' }))
    entries.push(entry);
  const format = FORMATS.find(({ name }) => name === type);
  if (format?.program !== undefined) {
    const { program } = format;
    await withInstalled(io, () => checkProgram(program));
  }
  if (format) {
    await format.write(() => entries, path, io.signal);
    return;
  }
  const image = await iso(entries, { label: label ?? 'NODEOS' });
  const device = regions(image.regions, { size: image.size });
  await writeImage(device, path, { signal: io.signal }).finally(() => device.close());
}
