/** Prefetches the next bytes for sequential readers. */
import { delegate } from './around.js';
import type { BlockBackend } from './backend.js';
import { recover } from './maybe.js';

export interface ReadAheadOptions {
  /** The first amount to prefetch in bytes; each later one is twice as large. Default 128 KiB. */
  readonly first?: number;
  /** The largest amount to prefetch in bytes. Default 4 MiB. */
  readonly most?: number;
  /** Sequential readers to track. Default 8. */
  readonly streams?: number;
}

/** A sequential reader. */
interface Stream {
  /** Where the next read is expected. */
  next: number;
  /** The end of the prefetched range. */
  ahead: number;
  window: number;
}

/**
 * `inner` with calls of `prefetch` ahead of sequential reads: wrap a `cache` in it. Returns `inner` itself if it has no
 * `prefetch`.
 */
export function readAhead(inner: BlockBackend, options: ReadAheadOptions = {}): BlockBackend {
  const { first = 128 << 10, most = 4 << 20, streams = 8 } = options;
  if (inner.prefetch === undefined) return inner;
  /** In order of use, the most recent last. */
  const known: Stream[] = [];

  function track(offset: number, length: number): void {
    const end = offset + length;
    const index = known.findIndex(({ next }) => next === offset);
    const stream = known.splice(index, index < 0 ? 0 : 1)[0] ?? { next: end, ahead: end, window: first };
    known.push(stream);
    if (known.length > streams) known.shift();
    stream.next = end;
    if (index >= 0) prefetch(stream);
  }

  /** The next window is requested while half a window is left, so that it arrives in time. */
  function prefetch(stream: Stream): void {
    stream.ahead = Math.max(stream.ahead, stream.next);
    if (stream.ahead - stream.next > stream.window / 2) return;
    const length = Math.min(stream.window, inner.size - stream.ahead);
    if (length <= 0) return;
    // A prefetch is a hint: the read itself reports the error.
    void recover(
      () => inner.prefetch?.(stream.ahead, length),
      () => undefined,
    );
    stream.ahead += length;
    stream.window = Math.min(most, stream.window * 2);
  }

  return {
    ...delegate(inner),
    get size() {
      return inner.size;
    },
    read: (into, offset) => {
      const answer = inner.read(into, offset);
      if (into.length > 0) track(offset, into.length);
      return answer;
    },
  };
}
