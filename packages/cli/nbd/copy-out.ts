/** nodeos nbd copy SOURCE -: a disk to standard output, in order. */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { contentOf, type BlockBackend } from '@nodeos/block';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
import type { Io, Parsed } from '../command.js';
import { meterFor } from './progress.js';

/** As a destination. */
export const STANDARD_OUTPUT = '-';

/** What is said of a destination that can be read again, or in other words than bytes. */
const WHY_NOT: Readonly<Record<string, string>> = {
  flush: 'nobody knows when its reader has it on a disk',
  verify: 'it cannot be read back',
  'no-sparse': 'all zeros are written to it in any case',
  'destination-is-zero': 'all zeros are written to it in any case',
  json: 'the disk is written there',
};

/** @throws UsageError for options that mean nothing, and for a terminal */
export function checkStandardOutput(args: Parsed, { stdout }: Pick<Io, 'stdout'>): void {
  for (const [option, why] of Object.entries(WHY_NOT))
    if (args.flag(option)) throw new UsageError(`--${option}: not to standard output: ${why}`);
  if (stdout.isTTY) throw new UsageError('standard output is a terminal', { hint: 'nodeos nbd copy SOURCE - | …' });
}

/** @throws NodeosError; the signal's reason, which is a ReaderGoneError when nobody reads it any more */
export async function copyOut(
  source: BlockBackend,
  from: string,
  requests: number,
  args: Parsed,
  io: Io,
): Promise<void> {
  const meter = meterFor('copied', args, io);
  let done = 0;
  try {
    for await (const bytes of contentOf(source, { requests })) {
      io.signal.throwIfAborted();
      if (!io.stdout.write(bytes)) await once(io.stdout, 'drain', { signal: io.signal });
      meter.update((done += bytes.length), source.size);
      await turn(); // a pipe takes bytes at once: a signal would not be heard
    }
  } catch (error) {
    io.signal.throwIfAborted();
    throw new NodeosError(`cannot copy ${from} to standard output: ${messageOf(error)}`, { cause: error });
  } finally {
    meter.close();
  }
  io.signal.throwIfAborted();
}
