/** Memory for answers that is used again: a new buffer of 1 MiB costs as much as filling it. */

export interface Buffers {
  readonly take: (length: number) => Buffer;
  /** Gives back what `take` has given, and ignores other buffers. */
  readonly give: (buffer: Buffer) => void;
}

/** Smaller ones are not kept. */
const SMALL = 64 << 10;
const MOST_KEPT = 8;

/** @param size bytes of the largest buffer */
export function buffersOf(size: number): Buffers {
  const free: Buffer[] = [];
  return {
    take: (length) =>
      length < SMALL ? Buffer.allocUnsafe(length) : (free.pop() ?? Buffer.allocUnsafeSlow(size)).subarray(0, length),
    give({ buffer }) {
      if (buffer.byteLength === size && free.length < MOST_KEPT) free.push(Buffer.from(buffer));
    },
  };
}
