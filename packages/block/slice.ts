/** A part of a device as a device: a partition. */
import { checkRange, type BlockBackend } from './backend.js';
import { extentsAt } from './sizes.js';

/**
 * The bytes of `inner` from `offset` on. It cannot be resized. `close` closes `inner`; `blockSizes` are passed on where
 * the offset is a multiple of them.
 * @throws RangeError unless the range lies within `inner`
 */
export function slice(inner: BlockBackend, start: number, size: number): BlockBackend {
  checkRange(inner, start, size);
  const at = (offset: number, length: number): number => {
    checkRange({ size }, offset, length);
    return start + offset;
  };
  const sizes = inner.blockSizes;
  return {
    size,
    ...(sizes && start % sizes.preferred === 0 && { blockSizes: sizes }),
    read: (into, offset) => inner.read(into, at(offset, into.length)),
    ...(inner.write && { write: (bytes, offset) => inner.write?.(bytes, at(offset, bytes.length)) }),
    ...(inner.flush && { flush: () => inner.flush?.() }),
    ...(inner.trim && { trim: (offset, length) => inner.trim?.(at(offset, length), length) }),
    ...(inner.zero && { zero: (offset, length, options) => inner.zero?.(at(offset, length), length, options) }),
    ...(inner.extents && { extents: (offset, length) => extentsAt(inner, at(offset, length), length, offset) }),
    ...(inner.prefetch && { prefetch: (offset, length) => inner.prefetch?.(at(offset, length), length) }),
    close: () => inner.close(),
  };
}
