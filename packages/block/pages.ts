/**
 * The pages of a memory device. They lie in chunks that threads can share. A mark byte per page says whether the page
 * is present. Before sharing, a chunk exists only while one of its pages does. Afterwards all chunks exist, because a
 * busy thread cannot receive new ones.
 *
 * Threads need no lock. Overlapping requests may end with the bytes of either, and all other requests touch their own
 * bytes. A dropped page loses its mark before its bytes are cleared, and a written page gets its mark after its bytes.
 * So a page without a mark holds zeros once no request is working on it.
 */

import { copyShared } from './shared-copy.js';

/** `LARGEST`: bytes of a chunk at most. `USUAL`: the most chunks of a device, unless they would exceed `LARGEST`. */
const LARGEST = 16 << 20;
const USUAL = 256;

export const chunkSizeFor = (size: number, pageSize: number): number =>
  Math.min(LARGEST, Math.max(pageSize, 2 ** Math.ceil(Math.log2(Math.max(1, size / USUAL)))));

interface Chunk {
  readonly bytes: Buffer;
  /** One byte per page: 1 if the page is present. */
  readonly marks: Uint8Array;
}

export interface SharedPages {
  readonly pageSize: number;
  readonly chunkSize: number;
  /** The bytes, followed by the marks. */
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

  /** Opens the pages that another thread has shared. */
  static of({ pageSize, chunkSize, memory }: SharedPages): Pages {
    const pages = new Pages(pageSize, chunkSize);
    for (const [index, buffer] of memory.entries()) pages.#chunks.set(index, pages.#chunkOf(buffer));
    pages.#isShared = true;
    return pages;
  }

  /** All chunks of a device of `size` bytes, for another thread. */
  share(size: number): SharedPages {
    this.#isShared = true;
    const count = Math.ceil(size / this.chunkSize);
    const memory = Array.from(
      { length: count },
      (_, index) => this.#ensureChunk(index).bytes.buffer as SharedArrayBuffer,
    );
    return { pageSize: this.pageSize, chunkSize: this.chunkSize, memory };
  }

  /** @returns whether the page is present */
  read(index: number, at: number, into: Uint8Array, to: number, length: number): boolean {
    const chunk = this.#chunks.get(this.#chunkIndex(index));
    const indexInChunk = index % this.#count;
    if (chunk?.marks[indexInChunk] !== 1) return false;
    const start = indexInChunk * this.pageSize + at;
    copyShared(chunk.bytes, start, into, to, length);
    return true;
  }

  write(index: number, at: number, bytes: Uint8Array, from: number, length: number): void {
    const chunk = this.#ensureChunk(this.#chunkIndex(index));
    const indexInChunk = index % this.#count;
    copyShared(bytes, from, chunk.bytes, indexInChunk * this.pageSize + at, length);
    chunk.marks[indexInChunk] = 1;
  }

  /** Marks the page as present without changing its bytes. */
  add(index: number): void {
    this.#ensureChunk(this.#chunkIndex(index)).marks[index % this.#count] = 1;
  }

  /** Writes zeros to a page if its chunk exists. */
  zero(index: number, start: number, end: number): void {
    const from = (index % this.#count) * this.pageSize;
    this.#chunks.get(this.#chunkIndex(index))?.bytes.fill(0, from + start, from + end);
  }

  /** Removes the page. */
  drop(index: number): void {
    const chunk = this.#chunks.get(this.#chunkIndex(index));
    if (!chunk) return;
    chunk.marks[index % this.#count] = 0;
    if (!this.#isShared && !chunk.marks.includes(1)) this.#chunks.delete(this.#chunkIndex(index));
    else this.zero(index, 0, this.pageSize);
  }

  /** The indexes of the present pages in a range of bytes, in order. */
  *present(offset: number, length: number): Generator<number> {
    const [first, end] = [Math.floor(offset / this.pageSize), Math.ceil((offset + length) / this.pageSize)];
    for (const [from, { marks }] of this.#chunksOf(first, end))
      for (let page = Math.max(first, from); page < Math.min(end, from + this.#count); page++)
        if (marks[page - from] === 1) yield page;
  }

  clear(): void {
    this.#chunks.clear();
  }

  /** The chunks of a range of pages, each with its first page. Walks the range or the chunks, whichever is shorter. */
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

  #ensureChunk(index: number): Chunk {
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
