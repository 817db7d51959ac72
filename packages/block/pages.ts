/**
 * The pages of a device in memory. They lie in chunks that threads can share; whether a page is there is a byte beside
 * it. Until they are shared, a chunk exists while one of its pages does; afterwards all of them do, since nobody can
 * give a new one to a thread that is busy.
 *
 * Threads need no lock. Requests that overlap may come out as either, and of others each has its own bytes. A page that
 * is dropped loses its mark before its bytes, and one that is written gets its mark after them: so a page without a mark
 * is zeros once nobody is at work on it.
 */

/** Bytes of a chunk at most, and how many a device has if they are smaller. */
const LARGEST = 16 << 20;
const USUAL = 256;

export const chunkSizeFor = (size: number, pageSize: number): number =>
  Math.min(LARGEST, Math.max(pageSize, 2 ** Math.ceil(Math.log2(Math.max(1, size / USUAL)))));

interface Chunk {
  readonly bytes: Buffer;
  /** A byte a page: 1 if it is there. */
  readonly marks: Uint8Array;
}

export interface SharedPages {
  readonly pageSize: number;
  readonly chunkSize: number;
  /** The bytes, and the marks after them. */
  readonly memory: readonly SharedArrayBuffer[];
}

export class Pages {
  readonly #chunks = new Map<number, Chunk>();
  /** Pages in a chunk. */
  readonly #count: number;
  #isShared = false;

  constructor(
    readonly pageSize: number,
    readonly chunkSize: number,
  ) {
    this.#count = chunkSize / pageSize;
  }

  /** What another thread has shared. */
  static of({ pageSize, chunkSize, memory }: SharedPages): Pages {
    const pages = new Pages(pageSize, chunkSize);
    for (const [index, buffer] of memory.entries()) pages.#chunks.set(index, pages.#chunkOf(buffer));
    pages.#isShared = true;
    return pages;
  }

  /** All chunks of so many bytes, for another thread. */
  share(size: number): SharedPages {
    this.#isShared = true;
    const count = Math.ceil(size / this.chunkSize);
    const memory = Array.from({ length: count }, (_, index) => this.#made(index).bytes.buffer as SharedArrayBuffer);
    return { pageSize: this.pageSize, chunkSize: this.chunkSize, memory };
  }

  /** @returns whether the page is there */
  read(index: number, at: number, into: Uint8Array, to: number, length: number): boolean {
    const chunk = this.#chunks.get(this.#chunkIndex(index));
    const inside = index % this.#count;
    if (chunk?.marks[inside] !== 1) return false;
    const start = inside * this.pageSize + at;
    chunk.bytes.copy(into, to, start, start + length);
    return true;
  }

  write(index: number, at: number, bytes: Uint8Array, from: number, length: number): void {
    const chunk = this.#made(this.#chunkIndex(index));
    const inside = index % this.#count;
    copy(bytes, from, chunk.bytes, inside * this.pageSize + at, length);
    chunk.marks[inside] = 1;
  }

  /** The page is there, whatever is in it. */
  add(index: number): void {
    this.#made(this.#chunkIndex(index)).marks[index % this.#count] = 1;
  }

  /** Zeros in a page that is there. */
  zero(index: number, start: number, end: number): void {
    const from = (index % this.#count) * this.pageSize;
    this.#chunks.get(this.#chunkIndex(index))?.bytes.fill(0, from + start, from + end);
  }

  /** The page is not there any more. */
  drop(index: number): void {
    const chunk = this.#chunks.get(this.#chunkIndex(index));
    if (!chunk) return;
    chunk.marks[index % this.#count] = 0;
    if (!this.#isShared && !chunk.marks.includes(1)) this.#chunks.delete(this.#chunkIndex(index));
    else this.zero(index, 0, this.pageSize);
  }

  /** The pages of a range of bytes that are there, in order. */
  *present(offset: number, length: number): Generator<number> {
    const [first, end] = [Math.floor(offset / this.pageSize), Math.ceil((offset + length) / this.pageSize)];
    for (const [from, { marks }] of this.#chunksOf(first, end))
      for (let page = Math.max(first, from); page < Math.min(end, from + this.#count); page++)
        if (marks[page - from] === 1) yield page;
  }

  clear(): void {
    this.#chunks.clear();
  }

  /** With the first page of each: by whichever is less work, going through the range or through the chunks. */
  #chunksOf(first: number, end: number): [from: number, chunk: Chunk][] {
    const [from, to] = [this.#chunkIndex(first), Math.ceil(end / this.#count)];
    const indexes =
      this.#chunks.size < to - from
        ? [...this.#chunks.keys()].filter((index) => index >= from && index < to).sort((a, b) => a - b)
        : Array.from({ length: to - from }, (_, index) => from + index);
    return indexes.flatMap((index): [number, Chunk][] => {
      const chunk = this.#chunks.get(index);
      return chunk ? [[index * this.#count, chunk]] : [];
    });
  }

  #chunkIndex(page: number): number {
    return Math.floor(page / this.#count);
  }

  #made(index: number): Chunk {
    const chunk = this.#chunks.get(index) ?? this.#chunkOf(new SharedArrayBuffer(this.chunkSize + this.#count));
    this.#chunks.set(index, chunk);
    return chunk;
  }

  #chunkOf(buffer: SharedArrayBuffer): Chunk {
    return {
      bytes: Buffer.from(buffer, 0, this.chunkSize),
      marks: new Uint8Array(buffer, this.chunkSize, this.#count),
    };
  }
}

/** A Buffer's own copying needs no view of the part. */
function copy(from: Uint8Array, start: number, to: Buffer, at: number, length: number): void {
  if (Buffer.isBuffer(from)) from.copy(to, at, start, start + length);
  else to.set(length === from.length ? from : from.subarray(start, start + length), at);
}
