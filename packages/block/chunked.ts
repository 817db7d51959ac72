/**
 * A device that is stored in chunks, each of which can only be unpacked whole. One at a time is, whoever asks, and those
 * that were used last are kept: so the memory is bounded, however many readers there are.
 */
import { checkRange, type BlockBackend } from './backend.js';

/** Bytes all. */
export interface Chunk {
  /** On the device. */
  readonly offset: number;
  readonly length: number;
  /** Where it is stored. */
  readonly at: number;
  readonly stored: number;
}

export interface ChunkedOptions {
  /** Bytes of unpacked chunks that are kept, but the one that was used last in any case. Default 64 MiB. */
  readonly memory?: number;
}

/**
 * @param chunks in order, without gaps
 * @param unpack gives the bytes of a chunk, just as many as it has
 */
export function chunked(
  chunks: readonly Chunk[],
  unpack: (chunk: Chunk) => Promise<Uint8Array>,
  close: BlockBackend['close'],
  { memory = 64 << 20 }: ChunkedOptions = {},
): BlockBackend {
  const last = chunks.at(-1);
  const size = last === undefined ? 0 : last.offset + last.length;
  /** The one that was used last is last. */
  const kept = new Map<Chunk, Promise<Uint8Array>>();
  let bytes = 0;
  let line: Promise<unknown> = Promise.resolve();

  function obtain(chunk: Chunk): Promise<Uint8Array> {
    const found = kept.get(chunk);
    if (found) {
      kept.delete(chunk);
      kept.set(chunk, found);
      return found;
    }
    const coming = line.then(() => unpack(chunk));
    line = coming.catch(() => undefined);
    kept.set(chunk, coming);
    bytes += chunk.length;
    coming.catch(() => forget(chunk)); // another try may succeed
    for (const oldest of kept.keys()) {
      if (bytes <= memory || oldest === chunk) break;
      forget(oldest);
    }
    return coming;
  }

  function forget(chunk: Chunk): void {
    if (kept.delete(chunk)) bytes -= chunk.length;
  }

  return {
    size,
    async read(into, offset) {
      checkRange({ size }, offset, into.length);
      const end = offset + into.length;
      for (let index = chunkAt(chunks, offset), at = offset; at < end; index++) {
        const chunk = chunks[index];
        if (!chunk) break;
        const part = (await obtain(chunk)).subarray(at - chunk.offset, end - chunk.offset);
        into.set(part, at - offset);
        at += part.length;
      }
    },
    close: () => {
      kept.clear();
      return close();
    },
  };
}

/** The index of the chunk that has the byte, by bisection. */
function chunkAt(chunks: readonly Chunk[], offset: number): number {
  let [low, high] = [0, chunks.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { offset: start, length } = chunks[middle] ?? { offset: 0, length: 0 };
    if (start + length > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
