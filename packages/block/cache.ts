/**
 * Keeps blocks of a device in memory and evicts the least recently used ones. Writes go through to the device.
 *
 * A cached block is never older than the device. If a write to a block ends while the block is being fetched, the
 * requests that already wait for the fetch may see either version, and the block is not cached.
 */
import { passedOn } from './around.js';
import { checkRange, type BlockBackend, type MaybePromise } from './backend.js';
import { isPromise, observed, rescued } from './maybe.js';

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
  const { bytes: room = 64 << 20, blockSize = 64 << 10, ahead = 16 << 20 } = options;
  if (!(blockSize >= 512 && Number.isInteger(Math.log2(blockSize)) && room >= blockSize))
    throw new RangeError(`a cache of ${room} bytes in blocks of ${blockSize}: a power of two from 512 is needed`);
  /** In order of use, the most recent last. */
  const kept = new Map<number, Block>();
  const fetching = new Map<number, Promise<Block>>();
  let aheadNow = 0;
  let changing = 0;
  /** Changes have overlapped in time since the last moment without any change under way. */
  let isCrowded = false;

  const runOf = (offset: number, length: number): Run => {
    const first = Math.floor(offset / blockSize);
    return { first, count: length === 0 ? 0 : Math.ceil((offset + length) / blockSize) - first };
  };

  function used(index: number): Block | undefined {
    const block = kept.get(index);
    if (block === undefined) return undefined;
    kept.delete(index);
    kept.set(index, block);
    return block;
  }

  function keep(index: number, block: Block): void {
    kept.set(index, block);
    for (const oldest of kept.keys()) {
      if (kept.size * blockSize <= room) break;
      kept.delete(oldest);
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
        keep(index, block);
        use(block, index);
      }
      return;
    }
    const arrived = Promise.resolve(answer);
    return Promise.all(
      indexes.map((index) =>
        fetched(
          index,
          arrived.then(() => blockAt(index)),
          use,
        ),
      ),
    ).then(() => undefined);
  }

  function fetched(index: number, block: Promise<Block>, use: (block: Block, index: number) => void): Promise<void> {
    fetching.set(index, block);
    /** Whether no write came in between. */
    const isCurrent = (): boolean => fetching.get(index) === block && fetching.delete(index);
    return block.then(
      (bytes) => {
        if (isCurrent()) keep(index, bytes);
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
    const wait = (answer: MaybePromise<void>): void => {
      // Wait for all requests even if one fails: until then they write into the reader's buffer.
      if (isPromise(answer)) waiting.push(answer.catch((error: unknown) => failed.push(error)));
    };
    const end = run.first + run.count;
    for (let index = run.first; index < end; index++) {
      const block = used(index);
      const coming = fetching.get(index);
      if (block) use(block, index);
      else if (coming) wait(coming.then((bytes) => use(bytes, index)));
      else {
        const first = index;
        while (index + 1 < end && !kept.has(index + 1) && !fetching.has(index + 1)) index++;
        const missing = { first, count: index + 1 - first };
        wait(
          rescued(
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
    if (++changing > 1) isCrowded = true;
    return observed(work, (error) => {
      // If two changes overlap in time, the order in which the device applied them is unknown.
      if (error === undefined && !isCrowded) update();
      else forget(kept, run);
      forget(fetching, run);
      if (--changing === 0) isCrowded = false;
    });
  }

  function overwrite(run: Run, bytes: Uint8Array, offset: number): void {
    for (let index = run.first; index < run.first + run.count; index++) {
      const start = index * blockSize - offset;
      const part = bytes.subarray(Math.max(0, start), Math.max(0, start + blockSize));
      kept.get(index)?.set(part, Math.max(0, -start));
    }
  }

  function clear(offset: number, length: number, work: () => MaybePromise<void>): MaybePromise<void> {
    checkRange(inner, offset, length);
    const run = runOf(offset, length);
    return change(run, work, () => forget(kept, run));
  }

  function prefetch(offset: number, length: number): MaybePromise<void> {
    checkRange(inner, offset, length);
    const run = runOf(offset, Math.max(0, Math.min(length, ahead - aheadNow, room / 2)));
    if (run.count === 0) return;
    aheadNow += run.count * blockSize;
    return observed(
      () => obtain(run, () => undefined),
      () => (aheadNow -= run.count * blockSize),
    );
  }

  const passed = passedOn(inner);
  return {
    ...passed,
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
    ...(passed.write && {
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
    ...(passed.trim && { trim: (offset, length) => clear(offset, length, () => inner.trim?.(offset, length)) }),
    ...(passed.zero && {
      zero: (offset, length, options) => clear(offset, length, () => inner.zero?.(offset, length, options)),
    }),
    ...(passed.resize && {
      resize: (size) =>
        change(
          ALL,
          () => inner.resize?.(size),
          () => forget(kept, ALL),
        ),
    }),
    prefetch,
    close: () => {
      forget(kept, ALL);
      return inner.close();
    },
  };
}

/** The contents may have changed: drop the blocks, and pass no older ones on. */
function forget(blocks: Map<number, unknown>, { first, count }: Run): void {
  const end = first + count;
  if (count <= blocks.size) for (let index = first; index < end; index++) blocks.delete(index);
  else for (const index of [...blocks.keys()]) if (first <= index && index < end) blocks.delete(index);
}
