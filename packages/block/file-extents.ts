/** Finds the holes of a file. */
import { fstatSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mergeExtents, type Extent, type MaybePromise } from './backend.js';
import { dataExtents } from './sizes.js';
import type { Sparse } from './sparse.js';

/** The unit of `st_blocks` in bytes, whatever the block size of the filesystem. */
const SECTOR = 512;
/** Extents to find before the event loop gets a turn. */
const BATCH = 1024;

/**
 * The extents of a range of an open file. If holes cannot be found, the whole range is data. Bytes beyond the end of
 * the file are data too.
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
  return collect(states, found) ? mergeExtents(found) : collectInTurns(states, found);
}

function* scan(fd: number, sparse: Sparse, offset: number, end: number): Generator<Extent> {
  for (let at = offset; at < end;) {
    // A file that was truncated has neither data nor holes beyond its end. A read there fails, so the range counts as
    // data.
    const data = Math.min(sparse.nextData(fd, at) ?? Math.max(at, fstatSync(fd).size), end);
    yield { offset: at, length: data - at, hole: true, zero: true };
    const hole = data < end ? Math.min(sparse.nextHole(fd, data) ?? end, end) : end;
    yield { offset: data, length: hole - data, hole: false, zero: false };
    at = hole;
  }
}

/** @returns whether the iterator is exhausted */
function collect(states: Iterator<Extent>, found: Extent[]): boolean {
  for (let count = 0; count < BATCH; count++) {
    const next = states.next();
    if (next.done === true) return true;
    found.push(next.value);
  }
  return false;
}

async function collectInTurns(states: Iterator<Extent>, found: Extent[]): Promise<readonly Extent[]> {
  do await nextTurn();
  while (!collect(states, found));
  return mergeExtents(found);
}
