/** What most wrappers are: the backend that they wrap, with something around each request. */
import type { BlockBackend, MaybePromise } from './backend.js';
import { recipeOf, shareable } from './shared.js';

export const OPERATIONS = ['read', 'write', 'flush', 'trim', 'zero', 'extents', 'prefetch', 'resize'] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * Stands around one request: calls `work` once, later, again or never.
 * @param length bytes; of `resize`, the new size. `flush` has 0 and 0
 */
export type Around = <T>(
  operation: Operation,
  offset: number,
  length: number,
  work: () => MaybePromise<T>,
) => MaybePromise<T>;

/** `inner`, each request of it through `around`; what it cannot do is absent. `close` closes it. */
export function around(inner: BlockBackend, around: Around): BlockBackend {
  return {
    ...passedOn(inner),
    get size() {
      return inner.size;
    },
    read: (into, offset) => around('read', offset, into.length, () => inner.read(into, offset)),
    ...(inner.write && {
      write: (bytes, offset) => around('write', offset, bytes.length, () => inner.write?.(bytes, offset)),
    }),
    ...(inner.flush && { flush: () => around('flush', 0, 0, () => inner.flush?.()) }),
    ...(inner.trim && {
      trim: (offset, length) => around('trim', offset, length, () => inner.trim?.(offset, length)),
    }),
    ...(inner.zero && {
      zero: (offset, length, options) => around('zero', offset, length, () => inner.zero?.(offset, length, options)),
    }),
    ...(inner.extents && {
      extents: (offset, length) => around('extents', offset, length, () => inner.extents?.(offset, length) ?? []),
    }),
    ...(inner.prefetch && {
      prefetch: (offset, length) => around('prefetch', offset, length, () => inner.prefetch?.(offset, length)),
    }),
    ...(inner.resize && { resize: (size) => around('resize', 0, size, () => inner.resize?.(size)) }),
  };
}

/** Every method of `inner` as it is, but for `size`, which a wrapper's literal must get anew each time. */
export function passedOn(inner: BlockBackend): Omit<BlockBackend, 'size'> {
  return {
    blockSizes: inner.blockSizes,
    version: inner.version,
    read: (into, offset) => inner.read(into, offset),
    ...(inner.write && { write: (bytes, offset) => inner.write?.(bytes, offset) }),
    ...(inner.flush && { flush: () => inner.flush?.() }),
    ...(inner.trim && { trim: (offset, length) => inner.trim?.(offset, length) }),
    ...(inner.zero && { zero: (offset, length, options) => inner.zero?.(offset, length, options) }),
    ...(inner.extents && { extents: (offset, length) => inner.extents?.(offset, length) ?? [] }),
    ...(inner.prefetch && { prefetch: (offset, length) => inner.prefetch?.(offset, length) }),
    ...(inner.resize && { resize: (size) => inner.resize?.(size) }),
    close: () => inner.close(),
  };
}

/** `inner`, but for its end: for those who share a device, or have more than it to give up. */
export function withClose(inner: BlockBackend, close: BlockBackend['close']): BlockBackend {
  const device: BlockBackend = {
    ...passedOn(inner),
    get size() {
      return inner.size;
    },
    close,
  };
  return shareable(device, recipeOf(inner));
}
