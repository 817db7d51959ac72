/** Buffers that are used again: a fresh one of a MiB costs more in page faults than filling it. */

/** Bytes above a power of two: a block of data and the header before it would take twice as much otherwise. */
export const HEADROOM = 64;
const SMALLEST = 12;
const LARGEST = 25;

export class Pool {
  readonly #free: Buffer[][] = Array.from({ length: LARGEST + 1 }, () => []);
  #bytes = 0;

  /** @param limit bytes that may lie unused */
  constructor(private readonly limit = 16 << 20) {}

  /** @returns a buffer of at least `length` bytes, with anything in it; a power of two and a header, up to 32 MiB */
  take(length: number): Buffer {
    const exponent = exponentOf(length);
    const buffer = this.#free[exponent]?.pop();
    if (buffer) this.#bytes -= buffer.length;
    return buffer ?? Buffer.allocUnsafeSlow(exponent > LARGEST ? length : 2 ** exponent + HEADROOM);
  }

  /** Nobody may use the buffer any more. */
  give(buffer: Buffer): void {
    const free = this.#free[exponentOf(buffer.length)];
    if (!free || this.#bytes + buffer.length > this.limit) return;
    this.#bytes += buffer.length;
    free.push(buffer);
  }
}

const exponentOf = (length: number): number => Math.max(SMALLEST, 32 - Math.clz32(Math.max(0, length - HEADROOM - 1)));
