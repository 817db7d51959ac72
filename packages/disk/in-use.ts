/** Detects whether a block device of this machine is in use and must not be written. */
import { constants } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { deviceNumbers } from '@nodeos/block';
import { codeOf, messageOf, mountsIn, NodeosError } from '@nodeos/base';

/**
 * Opens the device exclusively, which keeps others from mounting it or using it in another way.
 * @returns a function that releases the device
 * @throws NodeosError that says who uses it
 */
export async function claim(path: string): Promise<() => Promise<void>> {
  // For a block device, O_EXCL without O_CREAT means: only if no filesystem, swap or other driver has it.
  const handle = await open(path, constants.O_RDONLY | constants.O_EXCL).catch(async (error: unknown) => {
    if (codeOf(error) !== 'EBUSY') throw new NodeosError(`cannot open ${path}: ${messageOf(error)}`, { cause: error });
    throw new NodeosError(`${path} is in use${await usersOf(path)}: it is not overwritten`, {
      hint: 'unmount it, or take it out of use, and try again',
    });
  });
  return () => handle.close();
}

async function usersOf(path: string): Promise<string> {
  const { rdev } = await stat(path);
  const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
  const places = mountsOf(await read('/proc/self/mountinfo'), rdev);
  return places.length === 0 ? '' : ` (mounted at ${places.join(', ')})`;
}

/** Where a device is mounted, not including its partitions. */
export function mountsOf(mountinfo: string, rdev: number): string[] {
  const wanted = deviceNumbers(rdev);
  return mountsIn(mountinfo)
    .filter(({ device }) => device === wanted)
    .map(({ place }) => place);
}
