/** Files of images from streams of unknown length. */
import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf, UsageError } from '@nodeos/base';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import type { Io } from '../command.js';

/** @throws UsageError if it is a terminal: nobody types a file */
export function standardInput({ stdin }: Pick<Io, 'stdin'>): AsyncIterable<Uint8Array> {
  if (stdin.isTTY) throw new UsageError('standard input is a terminal', { hint: '… | nodeos image cp - IMAGE/PATH' });
  return stdin as NodeJS.ReadableStream as AsyncIterable<Uint8Array>;
}

export interface StreamOptions {
  readonly signal: AbortSignal;
  /** Default: those of the file that is replaced, else 0 and 0o644. */
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

/**
 * Replaces a file in one step, or makes it. It is durable then; if this fails, the old one is there.
 * @returns its bytes. @throws FsError of writing; the errors of the stream; the signal's reason
 */
export async function writeStream(
  { promises, createWriteStream }: MountedFilesystem,
  path: string,
  from: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: StreamOptions,
): Promise<number> {
  const target = await promises.realpath(path).catch(() => path); // what a link means is replaced, not the link
  const old = await promises.stat(target).catch(() => undefined);
  const temporary = posix.join(posix.dirname(target), `.nodeos-${process.pid}`);
  const to = createWriteStream(temporary, { flush: true });
  try {
    await pipeline(from, to, { signal: options.signal });
    await promises.chmod(temporary, options.mode ?? (old ? old.mode & 0o7777 : 0o644)).catch(ignoringRefusal);
    await promises.chown(temporary, options.uid ?? old?.uid ?? 0, options.gid ?? old?.gid ?? 0).catch(ignoringRefusal);
    await promises.rename(temporary, target);
  } catch (error) {
    await promises.rm(temporary, { force: true }).catch(() => undefined);
    options.signal.throwIfAborted();
    throw error;
  }
  return to.bytesWritten;
}

/** FAT has no owners and hardly any modes. */
function ignoringRefusal(error: unknown): void {
  if (codeOf(error) !== 'EPERM') throw error;
}
