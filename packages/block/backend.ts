/**
 * Bytes as a block device: the one interface between code that stores bytes (files, memory, HTTP, NBD, …) and code that
 * reads them (filesystems, the NBD server, copies). A wrapper around a backend adds behaviour.
 */

/**
 * A backend returns a plain value if it can answer at once. The caller awaits it, or checks for a promise before it
 * does.
 */
export type MaybePromise<T> = T | Promise<T>;

/** A run of bytes with one state. */
export interface Extent {
  /** Bytes from the start of the device. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** Nothing is allocated here. Reads need no work, and writes may fail for lack of space. */
  readonly hole: boolean;
  /** Reads give zeros. */
  readonly zero: boolean;
}

export interface ZeroOptions {
  /** Allows the zeros to become a hole; otherwise their space stays allocated. Default true. */
  readonly mayTrim?: boolean;
  /** Fail at once with the code ENOTSUP unless this is faster than writing zeros. Default false. */
  readonly fast?: boolean;
}

/** Sizes in bytes that suit a device. */
export interface BlockSizes {
  /** A power of two up to 64 KiB. Offsets and lengths of requests are multiples of it. */
  readonly minimum: number;
  readonly preferred: number;
  readonly maximum: number;
}

/**
 * Offsets and lengths are safe integers, in bytes. A range must lie within `size`; otherwise the method throws a
 * `RangeError`. An absent method is not supported: a device without `write` is read-only. Errors carry a `code` as in
 * Node.js (`EIO`, `ENOSPC`, …).
 *
 * Methods may be called concurrently. Where concurrent ranges overlap, the bytes of either may remain. Once `write` is
 * done, every reader sees the bytes; once a `flush` that began later is done, they survive a crash. A buffer belongs to
 * the backend until the method is done, and to the caller afterwards.
 */
export interface BlockBackend {
  /** Bytes. Only `resize` changes it. */
  readonly size: number;
  readonly blockSizes?: BlockSizes | undefined;
  /** Identifies the contents if somebody else may change them, such as an ETag. Other contents have another version. */
  readonly version?: string | undefined;
  /** Fills the whole buffer or throws. */
  read(into: Uint8Array, offset: number): MaybePromise<void>;
  write?(bytes: Uint8Array, offset: number): MaybePromise<void>;
  /** Makes durable every `write`, `trim` and `zero` that was done before this call began. */
  flush?(): MaybePromise<void>;
  /** Discards stored data. The contents of the range are undefined afterwards. A hint: it may do nothing. */
  trim?(offset: number, length: number): MaybePromise<void>;
  /** Afterwards the range reads as zeros. */
  zero?(offset: number, length: number, options?: ZeroOptions): MaybePromise<void>;
  /** The extents of the whole range, in order and without gaps. Neighbours differ in state. */
  extents?(offset: number, length: number): MaybePromise<readonly Extent[]>;
  /** A hint that the range will be read soon. */
  prefetch?(offset: number, length: number): MaybePromise<void>;
  /** New bytes at the end read as zeros. */
  resize?(size: number): MaybePromise<void>;
  /** Releases all resources; no method may be called afterwards. Does not flush. */
  close(): MaybePromise<void>;
}

/** @throws RangeError unless the range lies within the device */
export function checkRange({ size }: Pick<BlockBackend, 'size'>, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= size && Number.isSafeInteger(offset)) return;
  throw new RangeError(`${length} bytes at ${offset} are outside a device of ${size} bytes`);
}

/** An error with a code, which the NBD server passes on. */
export function failure(code: string, message: string, cause?: unknown): Error & { code: string } {
  return Object.assign(new Error(message, cause === undefined ? {} : { cause }), { code });
}

/** Merges neighbouring extents of the same state and drops empty ones. */
export function mergeExtents(extents: Iterable<Extent>): Extent[] {
  const merged: Extent[] = [];
  for (const extent of extents) {
    const last = merged.at(-1);
    if (extent.length === 0) continue;
    if (last?.hole === extent.hole && last.zero === extent.zero)
      merged[merged.length - 1] = { ...last, length: last.length + extent.length };
    else merged.push(extent);
  }
  return merged;
}
