/**
 * A device that is stored in chunks, each of which can only be unpacked whole. One at a time is, whoever asks, and those
 * that were used last are kept: so the memory is bounded, however many readers there are.
 */
import { checkRange, failure, type BlockBackend } from './backend.js';

/** Bytes all. */
export interface Chunk {
  /** On the device. */
  readonly offset: number;
  readonly length: number;
  /** Where it is stored. */
  readonly at: number;
  readonly stored: number;
}

/** How the chunks of a format are read. */
export interface ChunkFormat {
  /** What a message calls a chunk: "xz: a block". */
  readonly name: string;
  /** In order, without gaps. */
  readonly chunks: readonly Chunk[];
  /** Gives the bytes of a chunk, just as many as it has. */
  unpack(chunk: Chunk): Promise<Uint8Array>;
  readonly close: BlockBackend['close'];
}

export interface ChunkedOptions {
  /** Bytes of a chunk when it is unpacked, at most. Default 256 MiB. */
  readonly largest?: number;
  /** Bytes of unpacked chunks that are kept, but the one that was used last in any case. Default 64 MiB. */
  readonly memory?: number;
}

const LARGEST = 256 << 20;

/** @throws Error with the code EFBIG if a chunk is too large to be unpacked in memory */
export function chunked(format: ChunkFormat, options: ChunkedOptions = {}): BlockBackend {
  const { name, chunks } = format;
  const { memory = 64 << 20, largest = LARGEST } = options;
  const large = chunks.find(({ length }) => length > largest);
  if (large)
    throw failure(
      'EFBIG',
      `${name} of ${large.length} bytes, which would have to be in memory; ${largest} are the most`,
    );
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
    const coming = line.then(() => format.unpack(chunk));
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
      return format.close();
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
