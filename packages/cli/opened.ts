/** Opens a source of packages/disk. What must be fetched first, such as a container's image, has a line of progress. */
import type { BlockBackend } from '@nodeos/block';
import { openSource, type OpenOptions } from '@nodeos/disk';
import type { Io } from './command.js';
import { meterFor, type Meter } from './nbd/progress.js';

/** Standard output is for what the command has to say. */
const STDERR = { flag: () => false };

/** @throws the errors of `openSource` */
export const openWithProgress = (text: string, options: OpenOptions, io: Io): Promise<BlockBackend> =>
  withProgress(io, (progress) => openSource(text, { ...options, signal: io.signal, progress }));

/** @param work opens sources, and is given their `progress` */
export async function withProgress<T>(
  io: Io,
  work: (progress: NonNullable<OpenOptions['progress']>) => Promise<T>,
): Promise<T> {
  let meter: Meter | undefined;
  let before = [0, 0];
  const progress = (done: number, size: number): void => {
    const [last = 0, total] = before;
    if (!meter || size !== total || done < last) {
      meter?.close(); // another source
      meter = meterFor('fetched', STDERR, io);
    }
    meter.update(done, size);
    before = [done, size];
  };
  try {
    return await work(progress);
  } finally {
    meter?.close();
  }
}
