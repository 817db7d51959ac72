/** Opens the filesystem in a SOURCE. */
import { partitions, type BlockBackend, type Partition } from '@nodeos/block';
import { messageOf, NodeosError } from '@nodeos/base';
import { openSource } from '@nodeos/disk';
import { readImage, type ImageReader } from '@nodeos/fs';
import type { Entry, Tree } from '@nodeos/tree';
import type { Io } from '../command.js';
import { unpacked } from '../compressed.js';
import { unlessStopped } from '../nbd/stop.js';

/** Does the work with a filesystem, which is closed then. @throws NodeosError if the source has none */
export async function withImage<T>(text: string, io: Io, work: (image: ImageReader) => Promise<T>): Promise<T> {
  const source = unpacked(text);
  const device = await openSource(source, { cached: true, signal: io.signal });
  try {
    const image = await readImage(device).catch(async (error: unknown) => {
      const numbers = (await partitionsOf(device)).map(({ number }) => `partition:${number}:${source}`);
      throw new NodeosError(
        `${source}: ${messageOf(error)}`,
        numbers.length === 0 ? {} : { hint: `it is a disk: ${numbers.join(', ')}` },
      );
    });
    return await unlessStopped(work(image), io).catch((error: unknown) => {
      io.signal.throwIfAborted();
      throw error instanceof NodeosError ? error : new NodeosError(`${source}: ${messageOf(error)}`, { cause: error });
    });
  } finally {
    await device.close();
  }
}

/** The partitions; none if there is no intact table. */
export const partitionsOf = (device: BlockBackend): Promise<Partition[]> => partitions(device).catch(() => []);

/** The entries below a path, or the one with that path. @throws NodeosError if there is none */
export async function* entriesBelow(
  image: { entries(): Tree | Iterable<Entry> },
  path: string,
  io: Io,
): AsyncGenerator<Entry> {
  const wanted = path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
  let found = wanted === '';
  for await (const entry of image.entries()) {
    io.signal.throwIfAborted();
    if (wanted !== '' && entry.path !== wanted && !entry.path.startsWith(`${wanted}/`)) continue;
    found = true;
    yield entry;
  }
  if (!found) throw new NodeosError(`there is no ${wanted} in it`);
}
