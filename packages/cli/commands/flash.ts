/** nodeos flash: writes an image to a stick, a card or a disk. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { file, pieces, writesDirectly, type BlockBackend } from '@nodeos/block';
import { FORMATS } from '@nodeos/bootfs';
import { codeOf, formatSize, messageOf, NodeosError, UsageError, visible } from '@nodeos/base';
import { exclusively, hintFrom, type Hints } from '@nodeos/disk';
import { stepsOf } from '@nodeos/engine';
import { checkCapacity, flash, listDrives, type Drive, type Flashed } from '@nodeos/flash';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { buildingOf, buildSteps, BUILD_OPTIONS, systemFor } from '../building.js';
import { printMessage, type Command, type Io, type Parsed, type Unlisted } from '../command.js';
import { unpacked } from '../compressed.js';
import { settle } from '../config/settle.js';
import { meterFor, type Meter } from '../nbd/progress.js';
import { unlessKilled } from '../nbd/stop.js';
import { openWithProgress } from '../opened.js';

/** Formats that are written as they are. */
const RAW = FORMATS.filter(({ image }) => image === 'raw').map(({ name }) => name);
/** The longest text of a drive that is shown. */
const MAX_MODEL = 60;
/** Drives whose size may be a lie. */
const DOUBTFUL: ReadonlySet<string> = new Set(['USB', 'SD card or eMMC', 'Secure Digital']);
const PIECE = 1 << 20;

export const flashCommand: Unlisted<Command> = {
  operands: '[IMAGE|FORMAT] [DEVICE]',
  options: {
    app: { type: 'string', short: 'a', value: 'DIR', help: 'with a FORMAT: the application to build it with' },
    yes: { type: 'boolean', short: 'y', help: 'do not ask; DEVICE is named in full' },
    sha256: {
      type: 'string',
      value: 'HEX',
      help: 'what the whole image must have, checked before anything is written',
    },
    'no-verify': { type: 'boolean', help: 'do not read it back' },
    'no-capacity-check': { type: 'boolean', help: 'trust the size that a stick or a card says it has' },
    'dry-run': { type: 'boolean', help: 'only say what would be done' },
    ...BUILD_OPTIONS,
  },
  examples: [
    ['nodeos flash', 'the drives of this machine, and why one is refused'],
    ['nodeos flash disk /dev/sdb --app .', 'builds the application of this folder into a disk, and writes it'],
    ['nodeos flash nodeos.iso /dev/sdb', 'an image that is there already'],
    ['nodeos flash https://example.org/disk.img.zst /dev/mmcblk0 --sha256 9f86d0…', 'from a web server'],
  ],
  async run(args, io) {
    const [image, device, ...more] = args.operands;
    if (more.length > 0) throw new UsageError(`nodeos flash takes an image and a device, not also ${more.join(' ')}`);
    const drives = await listDrives();
    if (image === undefined || device === undefined) {
      printDrives(drives, args, io);
      if (image === undefined) return 0;
      throw new UsageError(`nodeos flash ${image}: on which device?`, { hint: 'name one: it is never chosen for you' });
    }
    const target = await targetFor(device, drives);
    const source = await openImage(image, args, io);
    try {
      await checkSum(source, args, io);
      const plan = `${image} (${formatSize(source.size)}) to ${target.path}: ${describe(target)}`;
      if (source.size > target.size)
        throw new NodeosError(`${image} has ${source.size} bytes, and ${target.path} only ${target.size}`);
      if (args.flag('dry-run')) {
        printMessage(io, `would write ${plan}; everything on it would be lost`);
        return 0;
      }
      await confirm(target, plan, args, io);
      await perform(source, image, target, args, io);
      return 0;
    } finally {
      await unlessKilled(Promise.resolve(source.close()), io);
    }
  },
};

/** A drive, or an image file in place of one. */
interface Target extends Omit<Drive, 'mounts' | 'refusals' | 'isRemovable'> {
  readonly isFile: boolean;
}

/** @throws UsageError, NodeosError if the device must not be overwritten */
async function targetFor(device: string, drives: readonly Drive[]): Promise<Target> {
  const found = await stat(device).catch((error: unknown) => {
    throw new UsageError(`${device}: ${codeOf(error) === 'ENOENT' ? 'there is no such device' : messageOf(error)}`, {
      hint: 'nodeos flash lists the drives',
    });
  });
  if (found.isFile())
    return { name: device, path: device, size: found.size, model: 'an image file', bus: 'file', isFile: true };
  const drive = drives.find(({ path, rawPath }) => path === device || rawPath === device);
  if (!drive)
    throw new UsageError(`${device} is no drive of this machine as a whole`, { hint: 'nodeos flash lists them' });
  if (drive.refusals.length > 0)
    throw new NodeosError(`${device} is not overwritten: ${drive.refusals.join('; ')}`, {
      hint: 'unmount it, or take it out of use, and try again',
    });
  return { ...drive, path: drive.rawPath ?? drive.path, isFile: false };
}

/** Builds a format, or opens the image. */
async function openImage(image: string, args: Parsed, io: Io): Promise<BlockBackend> {
  if (!RAW.includes(image)) {
    if (args.text('app') !== undefined) throw new UsageError(`--app: only with ${RAW.join(' or ')}`);
    return openWithProgress(unpacked(image), {}, io);
  }
  const settled = await settle(args.text('app'), args, io);
  const target = targetOf(settled.args.text('target') ?? DEFAULT_TARGET);
  const system = await systemFor(target, settled, io);
  const [medium] = system.format(image).artifacts;
  const built = await buildSteps(stepsOf(medium), buildingOf(settled), io);
  return file(built.path(medium), { readOnly: true });
}

/** @throws UsageError for what is no checksum, NodeosError if the image has another one */
async function checkSum(source: BlockBackend, args: Parsed, io: Io): Promise<void> {
  const wanted = args.text('sha256')?.toLowerCase();
  if (wanted === undefined) return;
  if (!/^[0-9a-f]{64}$/.test(wanted)) throw new UsageError(`--sha256 ${wanted}: expected 64 hexadecimal digits`);
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(PIECE);
  const meter = meterFor('checked', args, io);
  try {
    for (const [offset, length] of pieces(0, source.size, PIECE)) {
      io.signal.throwIfAborted();
      await source.read(buffer.subarray(0, length), offset);
      hash.update(buffer.subarray(0, length));
      meter.update(offset + length, source.size);
    }
  } finally {
    meter.close();
  }
  const found = hash.digest('hex');
  if (found !== wanted)
    throw new NodeosError(`the image has the SHA-256 ${found}, and not ${wanted}: nothing was written`);
}

/** @throws UsageError if nobody can be asked, NodeosError if the answer is another one */
async function confirm(target: Target, plan: string, args: Parsed, io: Io): Promise<void> {
  if (args.flag('yes')) return;
  if (!io.stdin.isTTY)
    throw new UsageError('nobody can be asked here: standard input is no terminal', { hint: '--yes' });
  io.stderr.write(`nodeos: ${visible(plan, 500)}\nEverything on it is lost. Type ${target.name} to go on: `);
  const lines = createInterface({ input: io.stdin as NodeJS.ReadableStream });
  try {
    const answer = await lines.question('', { signal: io.signal });
    if (answer.trim() !== target.name) throw new NodeosError('nothing was written');
  } finally {
    lines.close();
  }
}

const HINTS: Hints = {
  EIO: 'the drive is broken, or pretends to be larger than it is: take another one',
  EACCES: 'only root may write to drives: sudo',
  EROFS: 'some sticks and cards have a switch against writing',
};

async function perform(source: BlockBackend, image: string, target: Target, args: Parsed, io: Io): Promise<void> {
  const started = performance.now();
  try {
    const options = target.isFile ? {} : { exclusive: true, size: target.size };
    const opened = await exclusively(target.path, () => file(target.path, options));
    // A cache would take all at once, and the progress would be that of the cache.
    const device = await writesDirectly(opened, target.path);
    try {
      const isDoubtful = DOUBTFUL.has(target.bus) && !args.flag('no-capacity-check');
      if (isDoubtful) await checkCapacity(device, target.path);
      const flashed = await unlessKilled(flashWithMeter(source, device, target.path, args, io), io);
      report(flashed, target, (performance.now() - started) / 1000, args, io);
    } finally {
      await unlessKilled(Promise.resolve(device.close()), io);
    }
  } catch (error) {
    if (io.signal.aborted) printMessage(io, `${target.path} is unfinished, and does not boot`);
    io.signal.throwIfAborted();
    if (error instanceof NodeosError) throw error;
    throw new NodeosError(`cannot write ${image} to ${target.path}: ${messageOf(error)}`, {
      ...hintFrom(HINTS, error),
      cause: error,
    });
  }
}

async function flashWithMeter(
  source: BlockBackend,
  device: BlockBackend,
  path: string,
  args: Parsed,
  io: Io,
): Promise<Flashed> {
  let current: { readonly stage: string; readonly meter: Meter } | undefined;
  try {
    return await flash(source, device, path, {
      verify: !args.flag('no-verify'),
      signal: io.signal,
      progress(stage, done, size) {
        if (current?.stage !== stage) {
          current?.meter.close();
          current = { stage, meter: meterFor(stage, args, io) };
        }
        current.meter.update(done, size);
      },
    });
  } finally {
    current?.meter.close();
  }
}

function report({ written, verified, isDirect }: Flashed, target: Target, seconds: number, args: Parsed, io: Io): void {
  const result = { event: 'result', device: target.path, written, verified, isDirect, seconds };
  if (args.flag('json')) return void io.stdout.write(`${JSON.stringify(result)}\n`);
  const compared = args.flag('no-verify')
    ? 'not verified'
    : `verified${isDirect ? '' : ' (from the cache: this place cannot be read past it)'}`;
  io.stdout.write(`${target.path}: ${formatSize(written)} written in ${seconds.toFixed(1)} s, ${compared}\n`);
}

const describe = ({ model, size, bus }: Pick<Drive, 'model' | 'size' | 'bus'>): string =>
  [model === '' ? 'no name' : model, formatSize(size), bus].join(', ');

function printDrives(drives: readonly Drive[], args: Parsed, io: Io): void {
  for (const drive of drives) {
    const lines = args.flag('json') ? [JSON.stringify({ event: 'drive', ...drive })] : linesOf(drive);
    for (const line of lines) io.stdout.write(`${line}\n`);
  }
  if (drives.length === 0) printMessage(io, 'there is no drive on this machine');
}

/** Names of drives come from the drives. */
function linesOf(drive: Drive): string[] {
  const { path, model, isRemovable, refusals } = drive;
  const kind = isRemovable ? ', removable' : '';
  return [
    `${path}  ${describe({ ...drive, model: model.slice(0, MAX_MODEL) })}${kind}`,
    ...(refusals.length === 0 ? [] : [`    not overwritten: ${refusals.join('; ')}`]),
  ].map((line) => visible(line, 2000));
}
