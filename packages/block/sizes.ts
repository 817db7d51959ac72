/** Numbers of bytes, and the extents of devices that say nothing about themselves. */
import type { BlockBackend, Extent, MaybePromise } from './backend.js';
import { after } from './maybe.js';

/** @throws RangeError unless it is a size or an offset: a safe integer of bytes, 0 or more */
export function checkSize(size: number): void {
  if (Number.isSafeInteger(size) && size >= 0) return;
  throw new RangeError(`${size} bytes: a safe integer of at least 0 is needed`);
}

/** A MiB of zeros, to be written where there is no better way. */
export const ZEROS = Buffer.alloc(1 << 20);

export const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** A range in pieces of at most `most` bytes, as pairs of offset and length. */
export function* pieces(offset: number, length: number, most: number): Generator<[offset: number, length: number]> {
  for (let done = 0; done < length; done += most) yield [offset + done, Math.min(most, length - done)];
}

/** One extent of data; none if the range is empty. */
export const dataExtents = (offset: number, length: number): readonly Extent[] =>
  length === 0 ? [] : [{ offset, length, hole: false, zero: false }];

/** What the device says about the range; that all of it is data if it says nothing. */
export const extentsOf = (device: BlockBackend, offset: number, length: number): MaybePromise<readonly Extent[]> =>
  device.extents?.(offset, length) ?? dataExtents(offset, length);

/** What a device says about a range, as the extents of another device where the range starts at `to`. */
export const extentsAt = (
  device: BlockBackend,
  offset: number,
  length: number,
  to: number,
): MaybePromise<readonly Extent[]> =>
  after(extentsOf(device, offset, length), (extents) =>
    extents.map((extent) => ({ ...extent, offset: extent.offset - offset + to })),
  );
