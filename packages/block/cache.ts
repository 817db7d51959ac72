/**
 * Keeps blocks of a device in memory and evicts the least recently used ones. Writes go through to the device.
 *
 * A cached block is never older than the device. If a write to a block ends while the block is being fetched, the
 * requests that already wait for the fetch may see either version, and the block is not cached.
 */
import { delegate } from './around.js';
import { checkRange, type BlockBackend, type MaybePromise } from './backend.js';
import { isPromise, whenSettled, recover } from './maybe.js';

export interface CacheOptions {
  /** Bytes to keep at most. Default 64 MiB. */
  readonly bytes?: number;
  /** Bytes of a block: a power of two, at least 512. Default 64 KiB. */
  readonly blockSize?: number;
  /** Largest amount of prefetching under way, in bytes. `prefetch` ignores what exceeds it. Default 16 MiB. */
  readonly ahead?: number;
}

type Block = Uint8Array;

/** Neighbouring blocks. */
interface Run {
  readonly first: number;
  readonly count: number;
}

const ALL: Run = { first: 0, count: Infinity };

/**
 * `inner` with a cache. Neighbouring missing blocks are fetched by one request. A block that is already being fetched
 * is not requested again.
 * @throws RangeError for an invalid block size, or if `bytes` is less than one block
 */
export function cache(inner: BlockBackend, options: CacheOptions = {}): BlockBackend {
  const { bytes: capacity = 64 << 20, blockSize = 64 << 10, ahead = 16 << 20 } = options;
  if (!(blockSize >= 512 && Number.isInteger(Math.log2(blockSize)) && capacity >= blockSize))
    throw new RangeError(`a cache of ${capacity} bytes in blocks of ${blockSize}: a power of two from 512 is needed`);
  /** In order of use, the most recent last. */
  const cached = new Map<number, Block>();
  const fetching = new Map<number, Promise<Block>>();
  let prefetching = 0;
  let changing = 0;
  /** Changes have overlapped in time since the last moment without any change under way. */
  let hasOverlap = false;

  const runOf = (offset: number, length: number): Run => {
    const first = Math.floor(offset / blockSize);
    return { first, count: length === 0 ? 0 : Math.ceil((offset + length) / blockSize) - first };
  };

  function touch(index: number): Block | undefined {
    const block = cached.get(index);
    if (block === undefined) return undefined;
    cached.delete(index);
    cached.set(index, block);
    return block;
  }

  function store(index: number, block: Block): void {
    cached.set(index, block);
    for (const oldest of cached.keys()) {
      if (cached.size * blockSize <= capacity) break;
      cached.delete(oldest);
    }
  }

  /** Fetches blocks by one request and passes each to `use`. */
  function fetch({ first, count }: Run, use: (block: Block, index: number) => void): MaybePromise<void> {
    const start = first * blockSize;
    const bytes = new Uint8Array(Math.min(count * blockSize, inner.size - start));
    // One copy per block: a shared buffer would stay in memory as long as any of its blocks.
    const blockAt = (index: number): Block =>
      count === 1 ? bytes : bytes.slice((index - first) * blockSize, (index - first + 1) * blockSize);
    const answer = inner.read(bytes, start);
    const indexes = Array.from({ length: count }, (_, number) => first + number);
    if (!isPromise(answer)) {
      for (const index of indexes) {
        const block = blockAt(index);
        store(index, block);
        use(block, index);
      }
      return;
    }
    const loaded = Promise.resolve(answer);
    return Promise.all(
      indexes.map((index) =>
        track(
          index,
          loaded.then(() => blockAt(index)),
          use,
        ),
      ),
    ).then(() => undefined);
  }

  function track(index: number, block: Promise<Block>, use: (block: Block, index: number) => void): Promise<void> {
    fetching.set(index, block);
    /** Whether no write came in between. */
    const isCurrent = (): boolean => fetching.get(index) === block && fetching.delete(index);
    return block.then(
      (bytes) => {
        if (isCurrent()) store(index, bytes);
        use(bytes, index);
      },
      (error: unknown) => {
        isCurrent();
        throw error;
      },
    );
  }

  /** Passes every block of a run to `use`, from the cache or from the device. */
  function obtain(run: Run, use: (block: Block, index: number) => void): MaybePromise<void> {
    const waiting: Promise<unknown>[] = [];
    const failed: unknown[] = [];
    const collect = (answer: MaybePromise<void>): void => {
      // Wait for all requests even if one fails: until then they write into the reader's buffer.
      if (isPromise(answer)) waiting.push(answer.catch((error: unknown) => failed.push(error)));
    };
    const end = run.first + run.count;
    for (let index = run.first; index < end; index++) {
      const block = touch(index);
      const loading = fetching.get(index);
      if (block) use(block, index);
      else if (loading) collect(loading.then((bytes) => use(bytes, index)));
      else {
        const first = index;
        while (index + 1 < end && !cached.has(index + 1) && !fetching.has(index + 1)) index++;
        const missing = { first, count: index + 1 - first };
        collect(
          recover(
            () => fetch(missing, use),
            (error) => Promise.reject(error as Error),
          ),
        );
      }
    }
    if (waiting.length === 0) return;
    return Promise.all(waiting).then(() => {
      if (failed.length > 0) throw failed[0];
    });
  }

  /** Runs a write, then updates or forgets the cached blocks of its range. */
  function change(run: Run, work: () => MaybePromise<void>, update: () => void): MaybePromise<void> {
    if (++changing > 1) hasOverlap = true;
    return whenSettled(work, (error) => {
      // If two changes overlap in time, the order in which the device applied them is unknown.
      if (error === undefined && !hasOverlap) update();
      else evict(cached, run);
      evict(fetching, run);
      if (--changing === 0) hasOverlap = false;
    });
  }

  function overwrite(run: Run, bytes: Uint8Array, offset: number): void {
    for (let index = run.first; index < run.first + run.count; index++) {
      const start = index * blockSize - offset;
      const part = bytes.subarray(Math.max(0, start), Math.max(0, start + blockSize));
      cached.get(index)?.set(part, Math.max(0, -start));
    }
  }

  function clear(offset: number, length: number, work: () => MaybePromise<void>): MaybePromise<void> {
    checkRange(inner, offset, length);
    const run = runOf(offset, length);
    return change(run, work, () => evict(cached, run));
  }

  function prefetch(offset: number, length: number): MaybePromise<void> {
    checkRange(inner, offset, length);
    const run = runOf(offset, Math.max(0, Math.min(length, ahead - prefetching, capacity / 2)));
    if (run.count === 0) return;
    prefetching += run.count * blockSize;
    return whenSettled(
      () => obtain(run, () => undefined),
      () => (prefetching -= run.count * blockSize),
    );
  }

  const delegated = delegate(inner);
  return {
    ...delegated,
    get size() {
      return inner.size;
    },
    read: (into, offset) => {
      checkRange(inner, offset, into.length);
      return obtain(runOf(offset, into.length), (block, index) => {
        const start = index * blockSize - offset;
        into.set(block.subarray(Math.max(0, -start), into.length - start), Math.max(0, start));
      });
    },
    ...(delegated.write && {
      write: (bytes, offset) => {
        checkRange(inner, offset, bytes.length);
        const run = runOf(offset, bytes.length);
        return change(
          run,
          () => inner.write?.(bytes, offset),
          () => overwrite(run, bytes, offset),
        );
      },
    }),
    ...(delegated.trim && { trim: (offset, length) => clear(offset, length, () => inner.trim?.(offset, length)) }),
    ...(delegated.zero && {
      zero: (offset, length, options) => clear(offset, length, () => inner.zero?.(offset, length, options)),
    }),
    ...(delegated.resize && {
      resize: (size) =>
        change(
          ALL,
          () => inner.resize?.(size),
          () => evict(cached, ALL),
        ),
    }),
    prefetch,
    close: () => {
      evict(cached, ALL);
      return inner.close();
    },
  };
}

/** The contents may have changed: drop the blocks, and pass no older ones on. */
function evict(blocks: Map<number, unknown>, { first, count }: Run): void {
  const end = first + count;
  if (count <= blocks.size) for (let index = first; index < end; index++) blocks.delete(index);
  else for (const index of [...blocks.keys()]) if (first <= index && index < end) blocks.delete(index);
}
