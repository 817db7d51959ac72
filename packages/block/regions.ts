/**
 * A disk described by a list of what is where: bytes, files, other devices, nothing. It is served from the list without ever
 * having been written, or written from it (image.ts).
 */
import { stat } from 'node:fs/promises';
import { aligned } from './aligned.js';
import { checkRange, joined, type BlockBackend, type Extent, type MaybePromise } from './backend.js';
import { after, inTurn } from './maybe.js';
import { openFiles, type ExpectedFile, type OpenFiles } from './open-files.js';
import type { PaceOptions } from './pace.js';
import { checkSize, extentsAt } from './sizes.js';

/** Bytes; a part of a file; a part of another device; nothing. */
export type RegionSource = Uint8Array | FileSource | BackendSource | 'zeros';

/** A file must stay as it is: it is an error if its size or its time of last change is another when it is opened again. */
export interface FileSource extends ExpectedFile {
  /** Where the region starts in the file, in bytes. Default 0. */
  readonly offset?: number;
}

export interface BackendSource {
  readonly backend: BlockBackend;
  /** Where the region starts in it, in bytes. Default 0. */
  readonly offset?: number;
}

export interface Region {
  /** Bytes from the start of the disk. Default: the end of the region before it in the list. */
  readonly offset?: number;
  /** Bytes. */
  readonly length: number;
  readonly source: RegionSource;
}

export interface RegionsOptions {
  /** Bytes. Default: the end of the last region. */
  readonly size?: number;
  /** How many files are kept open. Default 64. */
  readonly openFiles?: number;
  /** When files are read at once. */
  readonly pace?: PaceOptions;
}

/** A region in its place, with what its source does. */
interface Placed {
  readonly offset: number;
  readonly end: number;
  /** `at` counts from the region's start. */
  read(into: Uint8Array, at: number): MaybePromise<void>;
  extents(at: number, length: number): MaybePromise<readonly Extent[]>;
}

const MOST_FILES = 64;

/**
 * The disk, read-only. What no region covers is zeros. `close` closes the devices among the sources.
 * @throws RangeError for regions that overlap, or that are longer than their source
 */
export function regions(list: Iterable<Region>, options: RegionsOptions = {}): BlockBackend {
  const files = openFiles(options.openFiles ?? MOST_FILES, options.pace);
  const backends = new Set<BlockBackend>();
  const placed = place(list, files, backends);
  const end = placed.at(-1)?.end ?? 0;
  const { size = end } = options;
  checkSize(size);
  if (size < end) throw new RangeError(`regions end at byte ${end}, beyond a device of ${size} bytes`);

  return {
    size,
    read: (into, offset) => {
      checkRange({ size }, offset, into.length);
      return inTurn(parts(placed, offset, into.length), ({ region, from, to }) => {
        const part = into.subarray(from - offset, to - offset);
        if (region) return region.read(part, from - region.offset);
        part.fill(0);
      });
    },
    extents: (offset, length) => {
      checkRange({ size }, offset, length);
      const found: Extent[] = [];
      const all = inTurn(parts(placed, offset, length), ({ region, from, to }) => {
        const states = region ? region.extents(from - region.offset, to - from) : [hole(from, to - from)];
        return after(states, (some) => void found.push(...some));
      });
      return after(all, () => joined(found));
    },
    close: async () => {
      files.close();
      for (const backend of backends) await backend.close();
    },
  };
}

/** A region of a whole file, as it is now. @throws what `stat` fails with */
export async function fileRegion(file: string, offset?: number): Promise<Region> {
  const { size, mtimeMs } = await stat(file);
  return { ...(offset !== undefined && { offset }), length: size, source: { file, size, mtime: mtimeMs } };
}

function place(list: Iterable<Region>, files: OpenFiles, backends: Set<BlockBackend>): readonly Placed[] {
  const all: Placed[] = [];
  let end = 0;
  for (const { offset = end, length, source } of list) {
    checkSize(offset);
    checkSize(length);
    checkSize((end = offset + length));
    if (length > 0) all.push({ offset, end, ...reader(source, offset, length, files, backends) });
  }
  all.sort((a, b) => a.offset - b.offset);
  for (const [index, region] of all.entries()) {
    const before = all[index - 1];
    if (before !== undefined && before.end > region.offset)
      throw new RangeError(`regions overlap: ${before.offset} to ${before.end}, and from ${region.offset} on`);
  }
  return all;
}

type Reader = Pick<Placed, 'read' | 'extents'>;

/** What a region does, by the kind of its source. */
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
  return { read: (into, at) => files.read(source, into, offset + at), extents: data };
}

const hole = (offset: number, length: number): Extent => ({ offset, length, hole: true, zero: true });

interface Part {
  /** Undefined: a gap. */
  readonly region: Placed | undefined;
  readonly from: number;
  readonly to: number;
}

/** What a range is made of, in order. */
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

/** The first region that ends behind `offset`, by bisection. */
function firstAfter(placed: readonly Placed[], offset: number): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((placed[middle]?.end ?? Infinity) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
