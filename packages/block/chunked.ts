/**
 * A device stored in chunks that can only be unpacked whole. All readers together unpack one chunk at a time, and the
 * most recently used chunks are kept. This bounds the memory, however many readers there are.
 */
import { checkRange, failure, type BlockBackend } from './backend.js';

/** All values are in bytes. */
export interface Chunk {
  /** The offset on the device. */
  readonly offset: number;
  readonly length: number;
  /** The offset of the stored chunk. */
  readonly at: number;
  readonly stored: number;
}

/** How to read the chunks of a format. */
export interface ChunkFormat {
  /** The name of a chunk in messages, such as "xz: a block". */
  readonly name: string;
  /** In order, without gaps. */
  readonly chunks: readonly Chunk[];
  /** Returns the bytes of a chunk: exactly as many as its length. */
  unpack(chunk: Chunk): Promise<Uint8Array>;
  readonly close: BlockBackend['close'];
}

export interface ChunkedOptions {
  /** The largest unpacked chunk in bytes. Default 256 MiB. */
  readonly largest?: number;
  /** Bytes of unpacked chunks to keep. The most recently used chunk is always kept. Default 64 MiB. */
  readonly memory?: number;
}

const LARGEST = 256 << 20;

/** @throws Error with the code EFBIG if a chunk is larger than `largest` */
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
  /** In order of use, the most recent last. */
  const cached = new Map<Chunk, Promise<Uint8Array>>();
  let bytes = 0;
  let queue: Promise<unknown> = Promise.resolve();

  function obtain(chunk: Chunk): Promise<Uint8Array> {
    const found = cached.get(chunk);
    if (found) {
      cached.delete(chunk);
      cached.set(chunk, found);
      return found;
    }
    const unpacking = queue.then(() => format.unpack(chunk));
    queue = unpacking.catch(() => undefined);
    cached.set(chunk, unpacking);
    bytes += chunk.length;
    unpacking.catch(() => evict(chunk)); // a later attempt may succeed
    for (const oldest of cached.keys()) {
      if (bytes <= memory || oldest === chunk) break;
      evict(oldest);
    }
    return unpacking;
  }

  function evict(chunk: Chunk): void {
    if (cached.delete(chunk)) bytes -= chunk.length;
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
      cached.clear();
      return format.close();
    },
  };
}

/** The index of the chunk that contains the byte, by bisection. */
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
