/** Reuses buffers: page faults of a new buffer of 1 MiB cost more than filling it. */

/** Bytes beyond a power of two. Without them, a block of data with its header would need a buffer of twice the size. */
export const HEADROOM = 64;
const SMALLEST = 12;
const LARGEST = 25;

export class Pool {
  readonly #free: Buffer[][] = Array.from({ length: LARGEST + 1 }, () => []);
  #bytes = 0;

  /** @param limit bytes of unused buffers to keep */
  constructor(private readonly limit = 16 << 20) {}

  /**
   * @returns a buffer of at least `length` bytes with arbitrary contents. Up to 32 MiB, its size is a power of two plus
   * `HEADROOM`
   */
  acquire(length: number): Buffer {
    const exponent = exponentOf(length);
    const buffer = this.#free[exponent]?.pop();
    if (buffer) this.#bytes -= buffer.length;
    return buffer ?? Buffer.allocUnsafeSlow(exponent > LARGEST ? length : 2 ** exponent + HEADROOM);
  }

  /** Returns a buffer, which nobody may use any more. */
  release(buffer: Buffer): void {
    const free = this.#free[exponentOf(buffer.length)];
    if (!free || this.#bytes + buffer.length > this.limit) return;
    this.#bytes += buffer.length;
    free.push(buffer);
  }
}

const exponentOf = (length: number): number => Math.max(SMALLEST, 32 - Math.clz32(Math.max(0, length - HEADROOM - 1)));
