/**
 * An image in a store as a block device. Reads fetch whole chunks: each once, however many readers wait for it, and a
 * bounded number at a time. Unpacked blocks stay in memory up to a limit.
 */
import {
  checkRange,
  chain,
  failure,
  isPromise,
  mergeExtents,
  type BlockBackend,
  type Extent,
  type MaybePromise,
} from '@nodeos/block';
import { messageOf } from '@nodeos/base';
import { recentlyUsed, type RecentlyUsed } from '../recently-used.js';

/** Blocks that can be fetched, by index. */
export interface BlockSource {
  /** The name of the image in messages. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  readonly blockSize: number;
  /** Identifies the contents of the image. */
  readonly version: string;
  /** Bytes of the block without the zeros at its end, or a bound for it; 0 if it has only zeros. */
  lengthOf(index: number): number;
  /** What the block's bytes follow from: equal for blocks of any images only if those have the same bytes. */
  keyOf(index: number): string;
  /** @returns the block's bytes, perhaps without the zeros at its end */
  load(index: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface DeviceOptions {
  /** Keeps unpacked blocks; several images may share it. Default: `unpackedBlocks()`, for this image alone. */
  readonly blocks?: UnpackedBlocks;
  /** Chunks that are fetched at once. Default 16. */
  readonly requests?: number;
  /** Told of each block when it is read for the first time: the start list. */
  readonly onFirst?: (index: number) => void;
}

/** Blocks of any number of images, by their keys: what images share is there once. */
export type UnpackedBlocks = RecentlyUsed<string, Uint8Array>;

/** @param memory bytes of all blocks. The most recently used one is always kept. Default 64 MiB */
export const unpackedBlocks = (memory = 64 << 20): UnpackedBlocks =>
  recentlyUsed(memory, ({ byteLength }) => byteLength);

export interface StoreDevice extends BlockBackend {
  /** Fetches blocks in this order, some at once, behind whatever is read meanwhile. Errors are left to the reads. */
  fetchAhead(indexes: Iterable<number>, signal?: AbortSignal): Promise<void>;
}

export function storeDevice(source: BlockSource, options: DeviceOptions = {}): StoreDevice {
  const { blocks = unpackedBlocks(), requests = 16, onFirst } = options;
  const { size, blockSize } = source;
  const keys = new Map<number, string>();
  const loading = new Map<number, Promise<Uint8Array>>();
  const seen = new Set<number>();
  const slots = slotsOf(requests);

  function obtain(index: number, isAhead = false): MaybePromise<Uint8Array> {
    const key = keyOf(index);
    const found = blocks.get(key);
    if (found) return found;
    const under = loading.get(index);
    if (under) return under;
    const work = slots(isAhead, () => source.load(index))
      .then((block) => {
        blocks.keep(key, block);
        return block;
      })
      .catch((error: unknown) => {
        throw failure('EIO', `${source.name}: block ${index}: ${messageOf(error)}`, error);
      })
      .finally(() => loading.delete(index));
    loading.set(index, work);
    return work;
  }

  function keyOf(index: number): string {
    const known = keys.get(index);
    if (known !== undefined) return known;
    const key = source.keyOf(index);
    keys.set(index, key);
    return key;
  }

  function note(index: number): void {
    if (!onFirst || seen.has(index)) return;
    seen.add(index);
    onFirst(index);
  }

  /** The part of the range that lies in one block. */
  function readPart(into: Uint8Array, at: number): MaybePromise<void> {
    const index = Math.floor(at / blockSize);
    if (source.lengthOf(index) === 0) return void into.fill(0);
    note(index);
    return chain(obtain(index), (block) => {
      const from = at - index * blockSize;
      const part = block.subarray(from, from + into.length);
      into.set(part);
      into.fill(0, part.length);
    });
  }

  function read(into: Uint8Array, offset: number): MaybePromise<void> {
    checkRange({ size }, offset, into.length);
    const waiting: Promise<void>[] = [];
    for (const [from, to] of parts(offset, into.length)) {
      const answer = readPart(into.subarray(from - offset, to - offset), from);
      if (isPromise(answer)) waiting.push(answer);
    }
    if (waiting.length > 0) return Promise.all(waiting).then(() => undefined);
  }

  /** Cuts a range at the borders of blocks. */
  function* parts(offset: number, length: number): Generator<[from: number, to: number]> {
    for (let at = offset; at < offset + length;) {
      const end = Math.min((Math.floor(at / blockSize) + 1) * blockSize, offset + length);
      yield [at, end];
      at = end;
    }
  }

  function extents(offset: number, length: number): readonly Extent[] {
    checkRange({ size }, offset, length);
    const found: Extent[] = [];
    for (const [from, to] of parts(offset, length)) {
      const index = Math.floor(from / blockSize);
      const data = Math.min(Math.max(index * blockSize + source.lengthOf(index), from), to);
      found.push({ offset: from, length: data - from, hole: false, zero: false });
      found.push({ offset: data, length: to - data, hole: true, zero: true });
    }
    return mergeExtents(found);
  }

  async function fetchAhead(indexes: Iterable<number>, signal?: AbortSignal): Promise<void> {
    const work = indexes[Symbol.iterator]();
    const next = async (): Promise<void> => {
      for (let item = work.next(); item.done !== true && !signal?.aborted; item = work.next())
        if (source.lengthOf(item.value) > 0) await Promise.resolve(obtain(item.value, true)).catch(() => undefined);
    };
    await Promise.all(Array.from({ length: requests }, next));
  }

  return {
    size,
    version: source.version,
    blockSizes: { minimum: 1, preferred: 4096, maximum: 32 << 20 },
    read,
    extents,
    prefetch(offset, length) {
      checkRange({ size }, offset, length);
      void fetchAhead([...parts(offset, length)].map(([from]) => Math.floor(from / blockSize)));
    },
    fetchAhead,
    close: () => source.close(),
  };
}

/** At most `count` pieces of work at a time; those that somebody waits for go before those that are done ahead. */
function slotsOf(count: number): <T>(isAhead: boolean, work: () => Promise<T>) => Promise<T> {
  const urgent: (() => void)[] = [];
  const later: (() => void)[] = [];
  let free = count;
  return async (isAhead, work) => {
    if (free === 0) await new Promise<void>((resolve) => (isAhead ? later : urgent).push(resolve));
    else free--;
    try {
      return await work();
    } finally {
      const next = urgent.shift() ?? later.shift();
      if (next) next();
      else free++;
    }
  };
}
