/**
 * A disk described by a list of regions: bytes, files, other devices, zeros. It can be served without ever being
 * written, or written to a file (image.ts).
 */
import { stat } from 'node:fs/promises';
import { aligned } from './aligned.js';
import { checkRange, mergeExtents, type BlockBackend, type Extent, type MaybePromise } from './backend.js';
import { chain, forEachInTurn } from './maybe.js';
import { openFiles, type ExpectedFile, type OpenFiles } from './open-files.js';
import type { PaceOptions } from './pace.js';
import { checkSize, extentsAt } from './sizes.js';

/** Bytes; a part of a file; a part of another device; zeros. */
export type RegionSource = Uint8Array | FileSource | BackendSource | 'zeros';

/** The file must not change: it is an error if its size or its time of last change differs when it is opened again. */
export interface FileSource extends ExpectedFile {
  /** Where the region starts in the file, in bytes. Default 0. */
  readonly offset?: number;
}

export interface BackendSource {
  readonly backend: BlockBackend;
  /** Where the region starts in the device, in bytes. Default 0. */
  readonly offset?: number;
}

export interface Region {
  /** Bytes from the start of the disk. Default: the end of the previous region in the list. */
  readonly offset?: number;
  /** Bytes. */
  readonly length: number;
  readonly source: RegionSource;
}

export interface RegionsOptions {
  /** Bytes. Default: the end of the last region. */
  readonly size?: number;
  /** Files to keep open. Default 64. */
  readonly openFiles?: number;
  /** When reads of files are synchronous. */
  readonly pace?: PaceOptions;
}

/** A region at its place on the disk, with the methods of its source. */
interface Placed {
  readonly offset: number;
  readonly end: number;
  /** `at` is relative to the start of the region. */
  read(into: Uint8Array, at: number): MaybePromise<void>;
  extents(at: number, length: number): MaybePromise<readonly Extent[]>;
}

const MAX_FILES = 64;
/** Bytes of a part of a file that is worth a look for holes. */
const LARGE = 1 << 20;

/**
 * The disk, read-only. Gaps between regions read as zeros. `close` closes the devices among the sources.
 * @throws RangeError if regions overlap, if a region is longer than its source, or if `size` is less than their end
 */
export function regions(list: Iterable<Region>, options: RegionsOptions = {}): BlockBackend {
  const files = openFiles(options.openFiles ?? MAX_FILES, options.pace);
  const backends = new Set<BlockBackend>();
  const placed = placeRegions(list, files, backends);
  const end = placed.at(-1)?.end ?? 0;
  const { size = end } = options;
  checkSize(size);
  if (size < end) throw new RangeError(`regions end at byte ${end}, beyond a device of ${size} bytes`);

  return {
    size,
    read: (into, offset) => {
      checkRange({ size }, offset, into.length);
      return forEachInTurn(parts(placed, offset, into.length), ({ region, from, to }) => {
        const part = into.subarray(from - offset, to - offset);
        if (region) return region.read(part, from - region.offset);
        part.fill(0);
      });
    },
    extents: (offset, length) => {
      checkRange({ size }, offset, length);
      const found: Extent[] = [];
      const all = forEachInTurn(parts(placed, offset, length), ({ region, from, to }) => {
        const states = region ? region.extents(from - region.offset, to - from) : [hole(from, to - from)];
        return chain(states, (extents) => void found.push(...extents));
      });
      return chain(all, () => mergeExtents(found));
    },
    close: async () => {
      files.close();
      for (const backend of backends) await backend.close();
    },
  };
}

/** A region for a whole file in its present state. @throws the errors of `stat` */
export async function fileRegion(file: string, offset?: number): Promise<Region> {
  const { size, mtimeMs } = await stat(file);
  return { ...(offset !== undefined && { offset }), length: size, source: { file, size, mtime: mtimeMs } };
}

function placeRegions(list: Iterable<Region>, files: OpenFiles, backends: Set<BlockBackend>): readonly Placed[] {
  const placed: Placed[] = [];
  let end = 0;
  for (const { offset = end, length, source } of list) {
    checkSize(offset);
    checkSize(length);
    checkSize((end = offset + length));
    if (length > 0) placed.push({ offset, end, ...reader(source, offset, length, files, backends) });
  }
  placed.sort((a, b) => a.offset - b.offset);
  for (const [index, region] of placed.entries()) {
    const previous = placed[index - 1];
    if (previous !== undefined && previous.end > region.offset)
      throw new RangeError(`regions overlap: ${previous.offset} to ${previous.end}, and from ${region.offset} on`);
  }
  return placed;
}

type Reader = Pick<Placed, 'read' | 'extents'>;

/** The methods of a region, depending on its source. */
function reader(
  source: RegionSource,
  start: number,
  length: number,
  files: OpenFiles,
  backends: Set<BlockBackend>,
): Reader {
  const data = (at: number, count: number): Extent[] => [
    { offset: start + at, length: count, hole: false, zero: false },
  ];
  if (source === 'zeros')
    return { read: (into) => void into.fill(0), extents: (at, count) => [hole(start + at, count)] };
  if (source instanceof Uint8Array) {
    checkRange({ size: source.length }, 0, length);
    return { read: (into, at) => into.set(source.subarray(at, at + into.length)), extents: data };
  }
  const { offset = 0 } = source;
  if ('backend' in source) {
    const backend = aligned(source.backend);
    checkRange(backend, offset, length);
    backends.add(source.backend);
    return {
      read: (into, at) => backend.read(into, offset + at),
      extents: (at, count) => extentsAt(backend, offset + at, count, start + at),
    };
  }
  checkSize(offset);
  if (source.size !== undefined) checkRange({ size: source.size }, offset, length);
  const read: Reader['read'] = (into, at) => files.read(source, into, offset + at);
  if (length < LARGE) return { read, extents: data };
  return {
    read,
    extents: (at, count) =>
      chain(files.extents(source, offset + at, count), (extents) =>
        extents.map((extent) => ({ ...extent, offset: extent.offset - offset + start })),
      ),
  };
}

const hole = (offset: number, length: number): Extent => ({ offset, length, hole: true, zero: true });

interface Part {
  /** Undefined: a gap. */
  readonly region: Placed | undefined;
  readonly from: number;
  readonly to: number;
}

/** The regions and gaps of a range, in order. */
function* parts(placed: readonly Placed[], offset: number, length: number): Generator<Part> {
  const end = offset + length;
  for (let at = offset, index = firstAfter(placed, offset); at < end; index++) {
    const region = placed[index];
    const start = Math.min(region?.offset ?? end, end);
    if (at < start) yield { region: undefined, from: at, to: start };
    at = Math.max(at, start);
    if (region === undefined || at >= end) return;
    const to = Math.min(region.end, end);
    yield { region, from: at, to };
    at = to;
  }
}

/** The index of the first region that ends after `offset`, by bisection. */
function firstAfter(placed: readonly Placed[], offset: number): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((placed[middle]?.end ?? Infinity) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
