/** A part of a device as a device, such as a partition. */
import { aligned } from './aligned.js';
import { checkRange, type BlockBackend, type BlockSizes } from './backend.js';
import { openShared, shareable, wrapping, type Recipe } from './shared.js';
import { extentsAt } from './sizes.js';

/** Bytes. A device must not prefer less. */
const SMALLEST_PREFERRED = 512;

/**
 * The `size` bytes of `inner` from `start` on. It cannot be resized. `close` closes `inner`. Any range can be read and
 * written, whatever the block sizes of `inner`; block sizes are passed on if `start` is a multiple of them.
 * @throws RangeError unless the range lies within `inner`
 */
export function slice(inner: BlockBackend, start: number, size: number): BlockBackend {
  checkRange(inner, start, size);
  const innerOffset = (offset: number, length: number): number => {
    checkRange({ size }, offset, length);
    return start + offset;
  };
  const alignedInner = aligned(inner);
  const device: BlockBackend = {
    size,
    ...(inner.blockSizes && { blockSizes: sizesFrom(start, inner.blockSizes) }),
    read: (into, offset) => alignedInner.read(into, innerOffset(offset, into.length)),
    ...(alignedInner.write && {
      write: (bytes, offset) => alignedInner.write?.(bytes, innerOffset(offset, bytes.length)),
    }),
    ...(alignedInner.flush && { flush: () => alignedInner.flush?.() }),
    ...(alignedInner.trim && { trim: (offset, length) => alignedInner.trim?.(innerOffset(offset, length), length) }),
    ...(alignedInner.zero && {
      zero: (offset, length, options) => alignedInner.zero?.(innerOffset(offset, length), length, options),
    }),
    ...(alignedInner.extents && {
      extents: (offset, length) => extentsAt(alignedInner, innerOffset(offset, length), length, offset),
    }),
    ...(alignedInner.prefetch && {
      prefetch: (offset, length) => alignedInner.prefetch?.(innerOffset(offset, length), length),
    }),
    close: () => inner.close(),
  };
  // Partial blocks are read, changed and written back under a lock, which works within one thread only.
  const recipe = inner.blockSizes ? undefined : wrapping(inner, import.meta.url, openSlice.name, { start, size });
  return shareable(device, recipe);
}

/** Opens a slice of another thread. */
export const openSlice = async ({
  inner,
  start,
  size,
}: {
  inner: Recipe;
  start: number;
  size: number;
}): Promise<BlockBackend> => slice(await openShared(inner), start, size);

/** Block sizes that suit both a device and its part from `start` on. */
const sizesFrom = (start: number, { minimum, preferred, maximum }: BlockSizes): BlockSizes => ({
  minimum: start % minimum === 0 ? minimum : 1,
  preferred: start % preferred === 0 ? preferred : Math.max(minimum, SMALLEST_PREFERRED),
  maximum,
});
