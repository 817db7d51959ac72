/** A sparse block device in memory. Everything is answered at once. */
import { checkRange, joined, type BlockBackend, type Extent } from './backend.js';
import { checkSize } from './sizes.js';

export interface MemoryOptions {
  /** Bytes that are given room together: a power of two from 4 KiB to 16 MiB. Default 64 KiB. */
  readonly pageSize?: number;
}

const DEFAULT_PAGE = 64 << 10;
const SMALLEST_PAGE = 4096;
const LARGEST_PAGE = 16 << 20;

/**
 * A device of zeros. A page takes memory from the first write to it until all of it is trimmed or zeroed.
 * @param size bytes
 * @throws RangeError for a size or a page size that is none
 */
export function memory(size: number, { pageSize = DEFAULT_PAGE }: MemoryOptions = {}): BlockBackend {
  checkSize(size);
  if (!(pageSize >= SMALLEST_PAGE && pageSize <= LARGEST_PAGE && Number.isInteger(Math.log2(pageSize))))
    throw new RangeError(`a page of ${pageSize} bytes: a power of two from 4 KiB to 16 MiB is needed`);
  const pages = new Map<number, Uint8Array>();
  const device = { size };

  function written(index: number): Uint8Array {
    const page = pages.get(index) ?? new Uint8Array(pageSize);
    pages.set(index, page);
    return page;
  }

  function read(into: Uint8Array, offset: number): void {
    checkRange(device, offset, into.length);
    for (let done = 0; done < into.length;) {
      const at = (offset + done) % pageSize;
      const count = Math.min(pageSize - at, into.length - done);
      const page = pages.get((offset + done - at) / pageSize);
      if (page === undefined) into.fill(0, done, done + count);
      else into.set(count === pageSize ? page : page.subarray(at, at + count), done);
      done += count;
    }
  }

  function write(bytes: Uint8Array, offset: number): void {
    checkRange(device, offset, bytes.length);
    for (let done = 0; done < bytes.length;) {
      const at = (offset + done) % pageSize;
      const count = Math.min(pageSize - at, bytes.length - done);
      const whole = count === bytes.length;
      written((offset + done - at) / pageSize).set(whole ? bytes : bytes.subarray(done, done + count), at);
      done += count;
    }
  }

  /** Frees whole pages, and fills the rest unless there is nothing. */
  function clear(offset: number, length: number): void {
    for (const index of present(offset, length)) {
      const start = Math.max(index * pageSize, offset);
      const end = Math.min((index + 1) * pageSize, offset + length);
      if (end - start === pageSize || (start === index * pageSize && end === device.size)) pages.delete(index);
      else pages.get(index)?.fill(0, start - index * pageSize, end - index * pageSize);
    }
  }

  /** The pages of a range that exist, in order: by whichever is less work, going through the range or the pages. */
  function present(offset: number, length: number): number[] {
    const [first, end] = [Math.floor(offset / pageSize), Math.ceil((offset + length) / pageSize)];
    const isIn = (index: number): boolean => index >= first && index < end;
    if (pages.size < end - first) return [...pages.keys()].filter(isIn).sort((a, b) => a - b);
    return Array.from({ length: end - first }, (_, index) => first + index).filter((index) => pages.has(index));
  }

  function* states(offset: number, length: number): Generator<Extent> {
    let at = offset;
    for (const index of present(offset, length)) {
      const start = Math.max(index * pageSize, offset);
      const end = Math.min((index + 1) * pageSize, offset + length);
      yield { offset: at, length: start - at, hole: true, zero: true };
      yield { offset: start, length: end - start, hole: false, zero: false };
      at = end;
    }
    yield { offset: at, length: offset + length - at, hole: true, zero: true };
  }

  return {
    get size() {
      return device.size;
    },
    read,
    write,
    flush: () => undefined,
    trim: (offset, length) => {
      checkRange(device, offset, length);
      clear(offset, length);
    },
    zero: (offset, length, { mayTrim = true } = {}) => {
      checkRange(device, offset, length);
      clear(offset, length);
      if (mayTrim || length === 0) return;
      for (let index = Math.floor(offset / pageSize); index * pageSize < offset + length; index++) written(index);
    },
    extents: (offset, length) => {
      checkRange(device, offset, length);
      return joined(states(offset, length));
    },
    resize: (to) => {
      checkSize(to);
      if (to < device.size) clear(to, device.size - to);
      device.size = to;
    },
    close: () => pages.clear(),
  };
}
