/**
 * Finds cards and sticks that say they are larger than they are. Such a drive takes all writes, and has lost or mixed
 * up what is beyond its real size. So marks are written, the last one first, and read back past the cache.
 */
import { createHash, randomBytes } from 'node:crypto';
import { failure, type BlockBackend } from '@nodeos/block';
import { directReader } from './direct.js';
import { wipeFirstSector } from './flash.js';

/** Bytes of a mark. */
const MARK = 4096;
const FIRST = 1 << 20;

/** Places of marks: the end, and all powers of two from 1 MiB on. A drive that wraps mixes up at least two of them. */
export function markPlaces(size: number): number[] {
  const places: number[] = [];
  for (let at = FIRST; at < size - MARK; at *= 2) places.push(at);
  return [...places, Math.floor((size - MARK) / MARK) * MARK].reverse();
}

const markOf = (nonce: Buffer, place: number): Buffer => {
  const hash = createHash('sha512').update(nonce).update(String(place)).digest();
  return Buffer.alloc(MARK, hash);
};

/**
 * Overwrites parts of the whole drive, which does not boot then.
 * @throws Error with the code EIO that says up to where the drive keeps what is written
 */
export async function checkCapacity(target: BlockBackend, path: string): Promise<void> {
  const places = markPlaces(target.size);
  const nonce = randomBytes(16);
  await wipeFirstSector(target);
  for (const place of places) await target.write?.(markOf(nonce, place), place);
  await target.flush?.();
  const reader = await directReader(path, target.size, MARK);
  try {
    const lost: number[] = [];
    for (const place of places) if (!(await reader.read(place, MARK)).equals(markOf(nonce, place))) lost.push(place);
    const first = Math.min(...lost);
    if (lost.length === 0) return;
    throw failure(
      'EIO',
      `${path} says that it has ${target.size} bytes, and does not keep what is written at byte ${first}`,
    );
  } finally {
    await reader.close();
  }
}
