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
import { checkSize, dataExtents, extentsAt } from './sizes.js';

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

/** A region at its place on the disk. There may be very many. */
interface Placed {
  readonly offset: number;
  readonly end: number;
  readonly source: RegionSource;
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
  const backends = new Map<BlockBackend, BlockBackend>();
  const placed = placeRegions(list, backends);
  const sources = sourcesIn(files, backends);
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
        if (region) return sources.read(region, part, from - region.offset);
        part.fill(0);
      });
    },
    extents: (offset, length) => {
      checkRange({ size }, offset, length);
      const found: Extent[] = [];
      const all = forEachInTurn(parts(placed, offset, length), ({ region, from, to }) => {
        const states = region ? sources.extents(region, from, to - from) : [hole(from, to - from)];
        return chain(states, (extents) => void found.push(...extents));
      });
      return chain(all, () => mergeExtents(found));
    },
    close: async () => {
      files.close();
      for (const backend of backends.keys()) await backend.close();
    },
  };
}

/** A region for a whole file in its present state. @throws the errors of `stat` */
export async function fileRegion(file: string, offset?: number): Promise<Region> {
  const { size, mtimeMs } = await stat(file);
  return { ...(offset !== undefined && { offset }), length: size, source: { file, size, mtime: mtimeMs } };
}

/** @param backends get the devices among the sources, each with one that takes any range */
function placeRegions(list: Iterable<Region>, backends: Map<BlockBackend, BlockBackend>): readonly Placed[] {
  const placed: Placed[] = [];
  let end = 0;
  for (const { offset = end, length, source } of list) {
    checkSize(offset);
    checkSize(length);
    checkSize((end = offset + length));
    if (length === 0) continue;
    checkSource(source, length);
    if (isBackend(source) && !backends.has(source.backend)) backends.set(source.backend, aligned(source.backend));
    placed.push({ offset, end, source });
  }
  placed.sort((a, b) => a.offset - b.offset);
  for (const [index, region] of placed.entries()) {
    const previous = placed[index - 1];
    if (previous !== undefined && previous.end > region.offset)
      throw new RangeError(`regions overlap: ${previous.offset} to ${previous.end}, and from ${region.offset} on`);
  }
  return placed;
}

const isBackend = (source: RegionSource): source is BackendSource => typeof source === 'object' && 'backend' in source;

/** @throws RangeError if the source is known to be shorter */
function checkSource(source: RegionSource, length: number): void {
  if (source === 'zeros') return;
  if (source instanceof Uint8Array) return checkRange({ size: source.length }, 0, length);
  const { offset = 0 } = source;
  checkSize(offset);
  const size = isBackend(source) ? source.backend.size : source.size;
  if (size !== undefined) checkRange({ size }, offset, length);
}

interface Sources {
  /** @param at bytes from the start of the region */
  read(region: Placed, into: Uint8Array, at: number): MaybePromise<void>;
  /** @param from where the range, which is within the region, starts on the disk */
  extents(region: Placed, from: number, length: number): MaybePromise<readonly Extent[]>;
}

function sourcesIn(files: OpenFiles, backends: ReadonlyMap<BlockBackend, BlockBackend>): Sources {
  const alignedOf = ({ backend }: BackendSource): BlockBackend => backends.get(backend) ?? backend;
  return {
    read({ source }, into, at) {
      if (source === 'zeros') return void into.fill(0);
      if (source instanceof Uint8Array) return into.set(source.subarray(at, at + into.length));
      const position = (source.offset ?? 0) + at;
      return isBackend(source) ? alignedOf(source).read(into, position) : files.read(source, into, position);
    },
    extents({ offset: start, end, source }, from, length) {
      if (source === 'zeros') return [hole(from, length)];
      if (source instanceof Uint8Array) return dataExtents(from, length);
      const position = (source.offset ?? 0) + from - start;
      if (isBackend(source)) return extentsAt(alignedOf(source), position, length, from);
      if (end - start < LARGE) return dataExtents(from, length);
      return chain(files.extents(source, position, length), (extents) =>
        extents.map((extent) => ({ ...extent, offset: extent.offset - position + from })),
      );
    },
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
