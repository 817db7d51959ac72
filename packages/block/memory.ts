/** A sparse block device in memory. Every method is synchronous. */
import { withClose } from './around.js';
import { checkRange, mergeExtents, type BlockBackend, type Extent } from './backend.js';
import { chunkSizeFor, Pages, type SharedPages } from './pages.js';
import { shareable } from './shared.js';
import { checkSize } from './sizes.js';

export interface MemoryOptions {
  /** The unit of allocation in bytes: a power of two from 4 KiB to 16 MiB. Default 64 KiB. */
  readonly pageSize?: number;
}

const DEFAULT_PAGE = 64 << 10;
const SMALLEST_PAGE = 4096;
const LARGEST_PAGE = 16 << 20;
/** Bytes. A larger device cannot be shared between threads. */
const MAX_SHARED = 64 * 2 ** 30;

/**
 * A device of zeros. A page takes memory from the first write to it until all of it is trimmed or zeroed.
 * @param size bytes
 * @throws RangeError if `size` is not a safe integer of at least 0, or for an invalid page size
 */
export function memory(size: number, { pageSize = DEFAULT_PAGE }: MemoryOptions = {}): BlockBackend {
  checkSize(size);
  if (!(pageSize >= SMALLEST_PAGE && pageSize <= LARGEST_PAGE && Number.isInteger(Math.log2(pageSize))))
    throw new RangeError(`a page of ${pageSize} bytes: a power of two from 4 KiB to 16 MiB is needed`);
  const pages = new Pages(pageSize, chunkSizeFor(size, pageSize));
  const device = deviceOf(size, pages);
  if (size > MAX_SHARED) return device;
  const args = (): SharedMemory => ({ size: device.size, ...pages.share(device.size) });
  return shareable(device, () => ({ module: import.meta.url, name: openSharedMemory.name, args: args() }));
}

type SharedMemory = SharedPages & { readonly size: number };

/** Opens the memory of a device that another thread has open. */
export const openSharedMemory = ({ size, ...shared }: SharedMemory): BlockBackend =>
  withClose(deviceOf(size, Pages.of(shared)), () => undefined);

function deviceOf(size: number, pages: Pages): BlockBackend {
  const { pageSize } = pages;
  const device = { size };

  function read(into: Uint8Array, offset: number): void {
    checkRange(device, offset, into.length);
    for (let done = 0; done < into.length;) {
      const at = (offset + done) % pageSize;
      const count = Math.min(pageSize - at, into.length - done);
      if (!pages.read((offset + done - at) / pageSize, at, into, done, count)) into.fill(0, done, done + count);
      done += count;
    }
  }

  function write(bytes: Uint8Array, offset: number): void {
    checkRange(device, offset, bytes.length);
    for (let done = 0; done < bytes.length;) {
      const at = (offset + done) % pageSize;
      const count = Math.min(pageSize - at, bytes.length - done);
      pages.write((offset + done - at) / pageSize, at, bytes, done, count);
      done += count;
    }
  }

  /** Frees whole pages, and fills parts of existing pages with zeros. */
  function clear(offset: number, length: number): void {
    for (const index of pages.present(offset, length)) {
      const start = Math.max(index * pageSize, offset);
      const end = Math.min((index + 1) * pageSize, offset + length);
      const isWhole = end - start === pageSize || (start === index * pageSize && end === device.size);
      if (isWhole) pages.drop(index);
      else pages.zero(index, start - index * pageSize, end - index * pageSize);
    }
  }

  function* states(offset: number, length: number): Generator<Extent> {
    let at = offset;
    for (const index of pages.present(offset, length)) {
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
      for (let index = Math.floor(offset / pageSize); index * pageSize < offset + length; index++) pages.add(index);
    },
    extents: (offset, length) => {
      checkRange(device, offset, length);
      return mergeExtents(states(offset, length));
    },
    resize: (to) => {
      checkSize(to);
      if (to < device.size) clear(to, device.size - to);
      device.size = to;
    },
    close: () => pages.clear(),
  };
}
