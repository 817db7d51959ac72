/** Sizes and ranges in bytes, and extents of devices that do not report them. */
import type { BlockBackend, Extent, MaybePromise } from './backend.js';
import { chain } from './maybe.js';

/** @throws RangeError unless `size` is a safe integer of at least 0 */
export function checkSize(size: number): void {
  if (Number.isSafeInteger(size) && size >= 0) return;
  throw new RangeError(`${size} bytes: a safe integer of at least 0 is needed`);
}

/** 1 MiB of zeros, for devices that have no better way to zero a range. */
export const ZEROS = Buffer.alloc(1 << 20);

export const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Splits a range into pieces of at most `largest` bytes, as pairs of offset and length. */
export function* pieces(offset: number, length: number, largest: number): Generator<[offset: number, length: number]> {
  for (let done = 0; done < length; done += largest) yield [offset + done, Math.min(largest, length - done)];
}

/** One extent of data; none if the range is empty. */
export const dataExtents = (offset: number, length: number): readonly Extent[] =>
  length === 0 ? [] : [{ offset, length, hole: false, zero: false }];

/** The extents that the device reports for the range; one extent of data if it reports none. */
export const extentsOf = (device: BlockBackend, offset: number, length: number): MaybePromise<readonly Extent[]> =>
  device.extents?.(offset, length) ?? dataExtents(offset, length);

/** The extents of a range, moved so that the range starts at `to` on another device. */
export const extentsAt = (
  device: BlockBackend,
  offset: number,
  length: number,
  to: number,
): MaybePromise<readonly Extent[]> =>
  chain(extentsOf(device, offset, length), (extents) =>
    extents.map((extent) => ({ ...extent, offset: extent.offset - offset + to })),
  );
