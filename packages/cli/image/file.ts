/** Filesystems as files of this machine, for programs that take no other. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { copy, file, partition, writeImage, type BlockBackend } from '@nodeos/block';
import { codeOf, messageOf, NodeosError, temporaryFolder } from '@nodeos/base';
import { localPath } from '@nodeos/disk';
import { lockBeside } from '@nodeos/linuxfs';
import type { Io } from '../command.js';
import { openWithProgress } from '../opened.js';
import type { Location } from './location.js';

/** The file of this machine that is the filesystem; undefined for a device, a partition or anything else. */
export async function ownFile({ source, partition: number }: Location): Promise<string | undefined> {
  const path = number === undefined ? localPath(source) : undefined;
  const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
  return found?.isBlockDevice() ? undefined : path;
}

/** Nobody else of this program writes the file meanwhile. @throws NodeosError if somebody does */
export async function locked<T>(path: string, work: () => Promise<T>): Promise<T> {
  const unlock = await lockBeside(path).catch((error: unknown) => {
    if (codeOf(error) !== 'EBUSY') throw error;
    throw new NodeosError(messageOf(error), { hint: 'somebody else writes it: wait until that is done', cause: error });
  });
  try {
    return await work();
  } finally {
    await unlock();
  }
}

/** The device of a location. Whoever gets it closes it. */
export async function openDevice(location: Location, io: Io, write: boolean): Promise<BlockBackend> {
  const disk = await openWithProgress(location.source, { write, exclusive: write, cached: !write }, io);
  const { partition: number } = location;
  if (number === undefined) return disk;
  return partition(disk, number).catch(async (error: unknown) => {
    await disk.close();
    throw new NodeosError(`${location.text}: ${messageOf(error)}`, { cause: error });
  });
}

/**
 * Does the work with a file that is the filesystem. What is no file of this machine is copied, without its holes, and if
 * it is changed, copied back.
 * @param write whether the work changes it. @param work is told whether it has the file itself, which may change its size
 */
export async function withFile<T>(
  location: Location,
  io: Io,
  write: boolean,
  work: (path: string, isOwn: boolean) => Promise<T>,
): Promise<T> {
  const own = await ownFile(location);
  if (own !== undefined && write) return locked(own, () => work(own, true));
  if (own !== undefined) return work(own, true);
  return withCopy(async (path) => {
    const device = await openDevice(location, io, write);
    try {
      await writeImage(device, path, { signal: io.signal });
      const result = await work(path, false);
      if (write) await copyBack(path, device, io);
      return result;
    } finally {
      await device.close();
    }
  });
}

/** A path in a temporary folder. */
export async function withCopy<T>(work: (path: string) => Promise<T>): Promise<T> {
  const folder = await temporaryFolder('image');
  try {
    return await work(join(folder, 'filesystem'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** All of a file onto a device of the same size, durably. */
export async function copyBack(path: string, device: BlockBackend, { signal }: Io): Promise<void> {
  const from = await file(path, { readOnly: true });
  try {
    await copy(from, device, { signal });
    await device.flush?.();
  } finally {
    await from.close();
  }
}
