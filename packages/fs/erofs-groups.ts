/**
 * Where the contents of files lie in an image that is cut into chunks: in groups of 64 KiB on average, each at the start
 * of a slot of 256 KiB. A file that changes then changes its own slot only, and a file more or less moves no other bytes
 * within their slots. What is between the groups is holes.
 */
import { createHash } from 'node:crypto';
import { roundUp } from '@nodeos/block';
import { pathBytes } from '@nodeos/tree';
import type { PlacedFile } from './erofs.js';

/** In bytes: the size of the blocks into which such an image is to be cut. */
export const GROUP_SLOT = 256 << 10;
const BLOCK = 4096;
/** A file of so many bytes stands alone; also the average of a group. */
const LARGE = 64 << 10;
const [LEAST, MOST] = [16 << 10, 128 << 10];

/**
 * The offsets of contents in the image, for the option `place` of `erofs`. It depends on paths and sizes alone. A group ends
 * behind the file for which `sha256(path) / 2^32` (its first four bytes) is less than `size / 64 KiB`, once it has
 * 16 KiB, or at 128 KiB. Sizes are whole blocks of 4 KiB.
 * @param files in the order of their paths
 * @param start the first free byte of the image
 */
export function pathGroups(files: readonly PlacedFile[], start: number): number[] {
  let [at, used] = [roundUp(start, GROUP_SLOT), 0];
  const endGroup = (): void => void ([at, used] = [roundUp(at + used, GROUP_SLOT), 0]);
  return files.map(({ path, size }) => {
    const length = roundUp(size, BLOCK);
    if (size >= LARGE && used > 0) endGroup();
    const offset = at + used;
    used += length;
    if (size >= LARGE || used >= MOST || (used >= LEAST && isBoundary(path, length))) endGroup();
    return offset;
  });
}

const isBoundary = (path: string, size: number): boolean =>
  createHash('sha256').update(pathBytes(path)).digest().readUInt32BE() / 2 ** 32 < size / LARGE;
