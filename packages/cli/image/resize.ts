/** nodeos image resize: a larger or smaller filesystem. */
import { stat, truncate } from 'node:fs/promises';
import { formatSize, messageOf, NodeosError, parseSize, UsageError } from '@nodeos/base';
import { file } from '@nodeos/block';
import { run } from '@nodeos/engine';
import { open } from '@nodeos/linuxfs';
import { printMessage, type Command, type Io } from '../command.js';
import { jsonObjectOf } from '../json-options.js';
import { checkProgram, withInstalled } from '../missing-tools.js';
import { withFile } from './file.js';
import { typeIn } from './fsck.js';
import { kernelPath } from './kernel.js';
import { locationOf } from './location.js';
import { PROGRAMS, type Programs } from './programs.js';

export const resizeCommand: Command = {
  name: 'image resize',
  summary:
    'Makes ext2, ext3, ext4, f2fs or btrfs larger or smaller, or xfs larger, together with its file. Without SIZE: as large as its place.',
  operands: 'IMAGE[:PARTITION] [SIZE]',
  options: { json: jsonObjectOf('the old size and the new one, in bytes') },
  examples: [
    ['nodeos image resize root.ext4 4G', 'a file'],
    ['nodeos image resize root.ext4 +512M', 'that much more'],
    ['nodeos image resize sdcard.img:2', 'up to the end of its partition'],
  ],
  async run(args, io) {
    const [image, size, ...more] = args.operands;
    if (image === undefined || more.length > 0)
      throw new UsageError('nodeos image resize IMAGE[:PARTITION] [SIZE]', { hint: 'see nodeos image resize --help' });
    const location = await locationOf(image);
    const { text } = location;
    if (location.path !== '/') throw new UsageError(`${text}: a filesystem is resized as a whole`);
    const { before, after } = await withFile(location, io, true, async (path, isOwn) => {
      const { size: before } = await stat(path);
      const wanted = size === undefined ? undefined : sizeFrom(size, before);
      await resize(path, { text, before, wanted, isOwn }, io);
      return { before, after: (await stat(path)).size };
    });
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ image: text, before, after })}\n`);
    else printMessage(io, `${text}: ${formatSize(after)}, and had ${formatSize(before)}`);
    return 0;
  },
};

/** `4G`, or `+512M` more and `-512M` less than now. */
function sizeFrom(text: string, now: number): number {
  const [, sign = '', number = ''] = /^([+-]?)(.*)$/.exec(text) ?? [];
  const size = parseSize(number, 'SIZE');
  const wanted = sign === '+' ? now + size : sign === '-' ? now - size : size;
  if (wanted > 0) return Math.ceil(wanted / UNIT) * UNIT;
  throw new UsageError(`SIZE ${text}: nothing would be left of ${formatSize(now)}`);
}

/** Blocks of most filesystems. */
const UNIT = 4096;

interface Change {
  readonly text: string;
  /** Bytes of the file. */
  readonly before: number;
  readonly wanted: number | undefined;
  /** Whether the file may become larger or smaller. */
  readonly isOwn: boolean;
}

/** The file is larger than the filesystem at every moment. */
async function resize(path: string, { text, before, wanted, isOwn }: Change, io: Io): Promise<void> {
  const type = await typeIn(path, text);
  const programs = PROGRAMS[type] ?? {};
  if (programs.noResize) throw new NodeosError(`${text}: ${type}: ${programs.noResize}`);
  const grows = wanted !== undefined && wanted > before;
  if (grows && !isOwn)
    throw new NodeosError(`${text} has ${formatSize(before)}: its place must become larger first`, {
      hint: 'sfdisk or parted change a partition table',
    });
  if (programs.resize) await prepare(path, programs, io);
  if (grows) await truncate(path, wanted);
  const way = programs.resize?.(path, wanted);
  await (way ? byProgram(way, io) : byLinux(path, text, wanted, io)).catch(async (error: unknown) => {
    if (grows) await truncate(path, before).catch(() => undefined);
    throw error;
  });
  if (wanted !== undefined && !grows && isOwn) await truncate(path, wanted);
}

async function byProgram([program, ...args]: readonly [string, ...string[]], io: Io): Promise<void> {
  await withInstalled(io, () => checkProgram(program));
  await run(program, args, { signal: io.signal });
}

/** Whoever called has the file's lock. */
async function byLinux(path: string, text: string, wanted: number | undefined, io: Io): Promise<void> {
  const disk = await open(await file(path), { kernel: await kernelPath(io), signal: io.signal });
  try {
    await (await disk.mount()).resize(wanted);
  } catch (error) {
    io.signal.throwIfAborted();
    throw new NodeosError(`${text}: Linux does not make it so large: ${messageOf(error)}`, { cause: error });
  } finally {
    await disk.close();
  }
}

/** A filesystem is resized only if it is sound. */
async function prepare(path: string, { repair }: Programs, io: Io): Promise<void> {
  if (!repair) return;
  const [program, ...args] = repair.line;
  await withInstalled(io, () => checkProgram(program));
  await run(program, [...args, path], { signal: io.signal, statuses: repair.good });
}
