/** The base of most wrappers: a backend with a function around each of its requests. */
import type { BlockBackend, MaybePromise } from './backend.js';
import { recipeOf, shareable } from './shared.js';

export const OPERATIONS = ['read', 'write', 'flush', 'trim', 'zero', 'extents', 'prefetch', 'resize'] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * Wraps one request. It may call `work` once, later, more than once or not at all.
 * @param length bytes; for `resize`, the new size. `flush` passes 0 for both `offset` and `length`
 */
export type Around = <T>(
  operation: Operation,
  offset: number,
  length: number,
  work: () => MaybePromise<T>,
) => MaybePromise<T>;

/** `inner` with `around` called for each request. Methods that `inner` lacks stay absent. `close` closes `inner`. */
export function around(inner: BlockBackend, around: Around): BlockBackend {
  return {
    ...delegate(inner),
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

/** All members of `inner` except `size`: a wrapper must define `size` as a getter, because it can change. */
export function delegate(inner: BlockBackend): Omit<BlockBackend, 'size'> {
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

/** `inner` with another `close`: for a device that is shared, or that has more than itself to close. */
export function withClose(inner: BlockBackend, close: BlockBackend['close']): BlockBackend {
  const device: BlockBackend = {
    ...delegate(inner),
    get size() {
      return inner.size;
    },
    close,
  };
  return shareable(device, recipeOf(inner));
}
