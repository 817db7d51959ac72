/** Buffers that are used again: a fresh one of a MiB costs more in page faults than filling it. */

const SMALLEST = 12;
const LARGEST = 25;

export class Pool {
  readonly #free: Buffer[][] = Array.from({ length: LARGEST + 1 }, () => []);
  #bytes = 0;

  /** @param limit bytes that may lie unused */
  constructor(private readonly limit = 32 << 20) {}

  /** @returns a buffer of at least `length` bytes, with anything in it; a power of two up to 32 MiB */
  take(length: number): Buffer {
    const exponent = exponentOf(length);
    const buffer = this.#free[exponent]?.pop();
    if (buffer) this.#bytes -= buffer.length;
    return buffer ?? Buffer.allocUnsafeSlow(exponent > LARGEST ? length : 2 ** exponent);
  }

  /** Nobody may use the buffer any more. */
  give(buffer: Buffer): void {
    const free = this.#free[exponentOf(buffer.length)];
    if (!free || this.#bytes + buffer.length > this.limit) return;
    this.#bytes += buffer.length;
    free.push(buffer);
  }
}

const exponentOf = (length: number): number => Math.max(SMALLEST, 32 - Math.clz32(length - 1));
