/** Reads a stream of bytes in parts of given lengths. */

/** An error about bytes that are not trusted: its code is EINVAL. */
export const invalid = (reason: string): Error => Object.assign(new Error(reason), { code: 'EINVAL' });

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #piece: Buffer = Buffer.alloc(0);
  /** Bytes that were read or skipped. */
  position = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next `length` bytes; fewer where the stream ends. */
  async read(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await this.take(missing);
      if (!part) break;
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
  }

  /** What there is, at most `most` bytes; undefined at the end. */
  async take(most: number): Promise<Buffer | undefined> {
    while (this.#piece.length === 0) {
      const next = await this.#source.next();
      if (next.done) return undefined;
      this.#piece = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const part = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(part.length);
    this.position += part.length;
    return part;
  }

  /** @returns bytes that were skipped: fewer than `length` where the stream ends */
  async skip(length: number): Promise<number> {
    let left = length;
    while (left > 0) {
      const part = await this.take(left);
      if (!part) break;
      left -= part.length;
    }
    return length - left;
  }

  /** The first `length` bytes, which stay unread; fewer where the stream ends. */
  async peek(length: number): Promise<Buffer> {
    const start = await this.read(length);
    this.#piece = Buffer.concat([start, this.#piece]);
    this.position -= start.length;
    return start;
  }

  /** What was not read yet. */
  async *rest(): AsyncGenerator<Buffer> {
    for (let part = await this.take(Infinity); part; part = await this.take(Infinity)) yield part;
  }

  /** Ends the stream, which need not be at its end. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
