/** Detects whether a block device of this machine is in use and must not be written. */
import { readFile, stat } from 'node:fs/promises';
import { deviceNumbers } from '@nodeos/block';
import { codeOf, mountsIn, NodeosError } from '@nodeos/base';

/**
 * Opens a device for nobody else, and explains if that is not possible.
 * @param open opens the device with `exclusive`
 * @throws NodeosError that says who uses it; the errors of `open`
 */
export async function exclusively<T>(path: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (codeOf(error) !== 'EBUSY' && codeOf((error as Error).cause) !== 'EBUSY') throw error;
    throw new NodeosError(`${path} is in use${await usersOf(path)}: it is not overwritten`, {
      hint: 'unmount it, or take it out of use, and try again',
    });
  }
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
