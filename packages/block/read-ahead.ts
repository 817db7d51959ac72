/** Fetching what will be read next, where somebody reads one range after the other. */
import { passedOn } from './around.js';
import type { BlockBackend } from './backend.js';
import { rescued } from './maybe.js';

export interface ReadAheadOptions {
  /** Bytes that are fetched ahead at first; doubled each time. Default 128 KiB. */
  readonly first?: number;
  /** Bytes that are fetched ahead at most. Default 4 MiB. */
  readonly most?: number;
  /** How many readers are told apart. Default 8. */
  readonly streams?: number;
}

/** Somebody who reads on and on. */
interface Stream {
  /** Where the next read is expected. */
  next: number;
  /** The end of what was asked for ahead. */
  ahead: number;
  window: number;
}

/** `inner`, whose `prefetch` is called ahead of sequential reads: put it around `cache`. As it is if it has none. */
export function readAhead(inner: BlockBackend, options: ReadAheadOptions = {}): BlockBackend {
  const { first = 128 << 10, most = 4 << 20, streams = 8 } = options;
  if (inner.prefetch === undefined) return inner;
  /** The one that read last is last. */
  const known: Stream[] = [];

  function follow(offset: number, length: number): void {
    const end = offset + length;
    const index = known.findIndex(({ next }) => next === offset);
    const stream = known.splice(index, index < 0 ? 0 : 1)[0] ?? { next: end, ahead: end, window: first };
    known.push(stream);
    if (known.length > streams) known.shift();
    stream.next = end;
    if (index >= 0) fetch(stream);
  }

  /** Half a window is left when the next one is asked for, so that it comes in time. */
  function fetch(stream: Stream): void {
    stream.ahead = Math.max(stream.ahead, stream.next);
    if (stream.ahead - stream.next > stream.window / 2) return;
    const length = Math.min(stream.window, inner.size - stream.ahead);
    if (length <= 0) return;
    // A hint: whoever reads it sees the error.
    void rescued(
      () => inner.prefetch?.(stream.ahead, length),
      () => undefined,
    );
    stream.ahead += length;
    stream.window = Math.min(most, stream.window * 2);
  }

  return {
    ...passedOn(inner),
    get size() {
      return inner.size;
    },
    read: (into, offset) => {
      const answer = inner.read(into, offset);
      if (into.length > 0) follow(offset, into.length);
      return answer;
    },
  };
}
