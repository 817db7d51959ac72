/** nodeos nbd copy SOURCE -: writes a disk to standard output, in order. */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { contentOf, type BlockBackend } from '@nodeos/block';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
import type { Io, Parsed } from '../command.js';
import { meterFor } from './progress.js';

/** The destination operand that means standard output. */
export const STANDARD_OUTPUT = '-';

/** Options that need a seekable destination or that conflict with the disk's bytes, and the reason. */
const UNSUPPORTED_OPTIONS: Readonly<Record<string, string>> = {
  flush: 'nobody knows when its reader has it on a disk',
  verify: 'it cannot be read back',
  'no-sparse': 'all zeros are written to it in any case',
  'destination-is-zero': 'all zeros are written to it in any case',
  json: 'the disk is written there',
};

/** @throws UsageError for options that make no sense here, and if standard output is a terminal */
export function checkStandardOutput(args: Parsed, { stdout }: Pick<Io, 'stdout'>): void {
  for (const [option, reason] of Object.entries(UNSUPPORTED_OPTIONS))
    if (args.flag(option)) throw new UsageError(`--${option}: not to standard output: ${reason}`);
  if (stdout.isTTY) throw new UsageError('standard output is a terminal', { hint: 'nodeos nbd copy SOURCE - | …' });
}

/**
 * Copies the disk to standard output.
 * @throws NodeosError if that fails; the signal's reason if it is aborted, which is a ReaderGoneError when the reader
 * has gone
 */
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
      await turn(); // a pipe may accept all bytes at once, and then no signal would be handled
    }
  } catch (error) {
    io.signal.throwIfAborted();
    throw new NodeosError(`cannot copy ${from} to standard output: ${messageOf(error)}`, { cause: error });
  } finally {
    meter.close();
  }
  io.signal.throwIfAborted();
}
