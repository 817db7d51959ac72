/** nodeos nbd copy: copies any source to a file, a block device or an NBD export. */
import { copy, difference, type BlockBackend, type Copied } from '@nodeos/block';
import { messageOf, NodeosError, formatSize, UsageError } from '@nodeos/base';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { JSON_PROGRESS } from '../json-options.js';
import { openWithProgress } from '../opened.js';
import { checkStandardOutput, copyOut, STANDARD_OUTPUT } from './copy-out.js';
import { type Destination, hintFrom, type Hints, openDestination } from '@nodeos/disk';
import { CONNECTIONS, operandsOf, integerOption } from './options.js';
import { meterFor } from './progress.js';
import { unlessKilled } from './stop.js';

/** Default number of 1 MiB pieces in flight. */
const REQUESTS = 16;
/** Maximum number of pieces in flight, which take 1 MiB of memory each, and of connections. */
const MAX_COUNT = 1024;

export const copyCommand: Command = {
  name: 'nbd copy',
  summary: 'Copies a disk: what is a hole is not read, what is zero becomes a hole.',
  operands: 'SOURCE DESTINATION',
  options: {
    connections: CONNECTIONS,
    requests: { type: 'string', value: 'N', help: `pieces of 1 MiB under way at once (default ${REQUESTS})` },
    'no-sparse': { type: 'boolean', help: 'write all zeros, so that the destination has room for everything' },
    'destination-is-zero': { type: 'boolean', help: 'the destination reads as zeros: those are not written again' },
    flush: { type: 'boolean', help: 'of an NBD destination: end when it is on its disk; others are always' },
    verify: { type: 'boolean', help: 'flush, read it all back, and compare' },
    json: JSON_PROGRESS,
  },
  examples: [
    ['nodeos nbd copy disk.img nbd://10.0.0.2/disk', 'a file into an export'],
    ['nodeos nbd copy nbd://10.0.0.2/disk disk.img', 'an export into a file, which appears when it is whole'],
    ['nodeos nbd copy nbd://10.0.0.2/disk - | zstd > disk.zst', 'to standard output'],
    [
      'nodeos nbd copy qcow2:disk.qcow2 disk.img',
      'out of an image of QEMU; also partition:N:, tar:MEMBER:, xz:, zstd:',
    ],
    ['nodeos nbd copy https://example.org/disk.img /dev/sdb --verify', 'onto a stick, which must not be mounted'],
  ],
  async run(args, io) {
    const job = jobOf(args);
    if (job.to === STANDARD_OUTPUT) checkStandardOutput(args, io);
    const source = await openWithProgress(job.from, job, io);
    try {
      if (job.to === STANDARD_OUTPUT) {
        await unlessKilled(copyOut(source, job.from, job.requests, args, io), io);
        return 0;
      }
      // The comparison of --verify finds lost data, so a flush need not fail for it.
      const options = { ...job, strictFlush: !args.flag('verify'), signal: io.signal };
      const destination = await openDestination(job.to, source.size, options);
      try {
        checkFlush(destination, job.to, args, io);
        return await perform({ ...job, source, destination }, args, io);
      } finally {
        await unlessKilled(destination.close(), io);
      }
    } finally {
      await unlessKilled(Promise.resolve(source.close()), io);
    }
  },
};

interface Job {
  readonly from: string;
  readonly to: string;
  readonly requests: number;
  readonly connections?: number;
}

function jobOf(args: Parsed): Job {
  const [from = '', to = ''] = operandsOf('nbd copy', args, 'SOURCE', 'DESTINATION');
  if (args.flag('no-sparse') && args.flag('destination-is-zero'))
    throw new UsageError('--no-sparse and --destination-is-zero: either zeros are written or they are not');
  const connections = integerOption(args, 'connections', 1, MAX_COUNT);
  const requests = integerOption(args, 'requests', 1, MAX_COUNT) ?? REQUESTS;
  return { from, to, requests, ...(connections === undefined ? {} : { connections }) };
}

type Opened = Job & { readonly source: BlockBackend; readonly destination: Destination };

async function perform(job: Opened, args: Parsed, io: Io): Promise<number> {
  const started = performance.now();
  const copied = await unlessKilled(copyAll(job, args, io), io);
  const seconds = Math.max(0.001, (performance.now() - started) / 1000);
  if (args.flag('verify')) await unlessKilled(verify(job, args, io), io);
  io.signal.throwIfAborted();
  await job.destination.finish();
  report(job, copied, seconds, args, io);
  return 0;
}

async function copyAll({ source, destination, from, to, requests }: Opened, args: Parsed, io: Io): Promise<Copied> {
  const meter = meterFor('copied', args, io);
  try {
    const copied = await copy(source, destination.backend, {
      requests,
      sparse: !args.flag('no-sparse'),
      targetIsZero: destination.isZero || args.flag('destination-is-zero'),
      signal: io.signal,
      progress: (done, size) => meter.update(done, size),
    });
    if (!args.flag('verify')) checkNotLost(destination, to);
    // Flush before the comparison: data that is verified after the flush can no longer be lost.
    if (destination.isLocal || args.flag('flush') || args.flag('verify')) await destination.backend.flush?.();
    return copied;
  } catch (error) {
    io.signal.throwIfAborted();
    if (error instanceof NodeosError) throw error;
    throw new NodeosError(`cannot copy ${from} to ${to}: ${messageOf(error)}`, {
      ...hintFrom(HINTS, error),
      cause: error,
    });
  } finally {
    meter.close();
  }
}

/**
 * Checks before the first write whether the destination can be flushed. @throws NodeosError if --flush was given and it
 * cannot
 */
function checkFlush({ backend }: Destination, to: string, args: Parsed, io: Io): void {
  if (backend.flush !== undefined || backend.write === undefined) return;
  if (args.flag('flush'))
    throw new NodeosError(`--flush: ${to} cannot be flushed: its server has no such command`, {
      hint: 'without --flush, what is copied may be lost if the server crashes',
    });
  if (args.flag('verify'))
    printMessage(io, `${to} cannot be flushed: what is verified may still be lost if its server crashes`);
}

/** @throws NodeosError if the server was restarted and may have lost earlier writes */
function checkNotLost({ mayBeLost }: Destination, to: string): void {
  if (!mayBeLost) return;
  throw new NodeosError(`${to}: the connection was lost in between, and the server may have lost what was written`, {
    hint: 'copy it again, or with --verify, which finds out whether it is all there',
  });
}

const HINTS: Hints = {
  ENOSPC: 'make room for it, or take a larger destination',
  EROFS: 'the server does not let it be written: was it started with --read-only?',
};

async function verify({ source, destination, from, to, requests }: Opened, args: Parsed, io: Io): Promise<void> {
  const meter = meterFor('verified', args, io);
  const options = { requests, signal: io.signal, progress: (done: number, size: number) => meter.update(done, size) };
  const at = await difference(source, destination.backend, options)
    .catch((error: unknown) => {
      io.signal.throwIfAborted();
      throw new NodeosError(`cannot compare ${from} with ${to}: ${messageOf(error)}`, { cause: error });
    })
    .finally(() => meter.close());
  if (at === undefined) return;
  throw new NodeosError(`${to} differs from ${from} at byte ${at}, though it was copied`, {
    hint: 'somebody else writes to one of them, the server was started anew in between, or a disk is broken',
  });
}

function report({ source, to }: Opened, copied: Copied, seconds: number, args: Parsed, io: Io): void {
  const { size } = source;
  if (args.flag('json')) {
    const verified = args.flag('verify');
    io.stdout.write(JSON.stringify({ event: 'done', size, ...copied, seconds: rounded(seconds), verified }) + '\n');
    return;
  }
  const rate = formatSize(Math.round(size / seconds));
  const verified = args.flag('verify') ? ', and verified' : '';
  io.stderr.write(
    `nodeos: ${to}: ${formatSize(size)} in ${rounded(seconds)} s (${rate}/s); ` +
      `${formatSize(copied.read)} read, ${formatSize(copied.written)} written${verified}\n`,
  );
}

const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;
