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
  /** @returns the block's bytes, perhaps without the zeros at its end */
  load(index: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface DeviceOptions {
  /** Bytes of unpacked blocks to keep. The most recently used one is always kept. Default 64 MiB. */
  readonly memory?: number;
  /** Chunks that are fetched at once. Default 16. */
  readonly requests?: number;
  /** Told of each block when it is read for the first time: the start list. */
  readonly onFirst?: (index: number) => void;
}

export interface StoreDevice extends BlockBackend {
  /** Fetches blocks in this order, some at once, behind whatever is read meanwhile. Errors are left to the reads. */
  fetchAhead(indexes: Iterable<number>, signal?: AbortSignal): Promise<void>;
}

export function storeDevice(source: BlockSource, options: DeviceOptions = {}): StoreDevice {
  const { memory = 64 << 20, requests = 16, onFirst } = options;
  const { size, blockSize } = source;
  /** In order of use, the most recent last. */
  const cached = new Map<number, Uint8Array>();
  const loading = new Map<number, Promise<Uint8Array>>();
  const seen = new Set<number>();
  const slots = slotsOf(requests);
  let bytes = 0;

  function obtain(index: number, isAhead = false): MaybePromise<Uint8Array> {
    const found = cached.get(index);
    if (found) {
      cached.delete(index);
      cached.set(index, found);
      return found;
    }
    const under = loading.get(index);
    if (under) return under;
    const work = slots(isAhead, () => source.load(index))
      .then((block) => keep(index, block))
      .catch((error: unknown) => {
        throw failure('EIO', `${source.name}: block ${index}: ${messageOf(error)}`, error);
      })
      .finally(() => loading.delete(index));
    loading.set(index, work);
    return work;
  }

  function keep(index: number, block: Uint8Array): Uint8Array {
    cached.set(index, block);
    bytes += block.byteLength;
    for (const [oldest, { byteLength }] of cached) {
      if (bytes <= memory || oldest === index) break;
      cached.delete(oldest);
      bytes -= byteLength;
    }
    return block;
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
    close: () => {
      cached.clear();
      return source.close();
    },
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
