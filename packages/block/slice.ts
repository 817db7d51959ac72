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
  const at = (offset: number, length: number): number => {
    checkRange({ size }, offset, length);
    return start + offset;
  };
  const whole = aligned(inner);
  const device: BlockBackend = {
    size,
    ...(inner.blockSizes && { blockSizes: sizesFrom(start, inner.blockSizes) }),
    read: (into, offset) => whole.read(into, at(offset, into.length)),
    ...(whole.write && { write: (bytes, offset) => whole.write?.(bytes, at(offset, bytes.length)) }),
    ...(whole.flush && { flush: () => whole.flush?.() }),
    ...(whole.trim && { trim: (offset, length) => whole.trim?.(at(offset, length), length) }),
    ...(whole.zero && { zero: (offset, length, options) => whole.zero?.(at(offset, length), length, options) }),
    ...(whole.extents && { extents: (offset, length) => extentsAt(whole, at(offset, length), length, offset) }),
    ...(whole.prefetch && { prefetch: (offset, length) => whole.prefetch?.(at(offset, length), length) }),
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
