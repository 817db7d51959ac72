/** Where a file has holes. */
import { fstatSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { joined, type Extent, type MaybePromise } from './backend.js';
import { dataExtents } from './sizes.js';
import type { Sparse } from './sparse.js';

/** `st_blocks` counts in these, whatever the filesystem's blocks are. */
const SECTOR = 512;
/** How many extents are looked for before others have their turn. */
const TURN = 1024;

/**
 * The extents of a range of an open file; that all of it is data if holes cannot be found. So is what lies beyond the
 * file's end.
 */
export function fileExtents(
  fd: number,
  sparse: Sparse | undefined,
  offset: number,
  length: number,
): MaybePromise<readonly Extent[]> {
  const { blocks, size } = fstatSync(fd);
  if (sparse === undefined || blocks * SECTOR >= size) return dataExtents(offset, length);
  const found: Extent[] = [];
  const states = scan(fd, sparse, offset, offset + length);
  return take(states, found) ? joined(found) : takeInTurns(states, found);
}

function* scan(fd: number, sparse: Sparse, offset: number, end: number): Generator<Extent> {
  for (let at = offset; at < end;) {
    // A file that was cut off has neither data nor holes beyond its end: a read there fails, so it counts as data.
    const data = Math.min(sparse.nextData(fd, at) ?? Math.max(at, fstatSync(fd).size), end);
    yield { offset: at, length: data - at, hole: true, zero: true };
    const hole = data < end ? Math.min(sparse.nextHole(fd, data) ?? end, end) : end;
    yield { offset: data, length: hole - data, hole: false, zero: false };
    at = hole;
  }
}

/** @returns whether that were all */
function take(states: Iterator<Extent>, found: Extent[]): boolean {
  for (let count = 0; count < TURN; count++) {
    const next = states.next();
    if (next.done === true) return true;
    found.push(next.value);
  }
  return false;
}

async function takeInTurns(states: Iterator<Extent>, found: Extent[]): Promise<readonly Extent[]> {
  do await nextTurn();
  while (!take(states, found));
  return joined(found);
}
