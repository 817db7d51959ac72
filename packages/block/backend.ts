/**
 * Bytes as a block device: the one interface between what stores bytes (files, memory, HTTP, NBD, …) and what reads
 * them (filesystems, the NBD server, copies). Behaviour is added by wrapping a backend in another one.
 */

/** What a backend that answers at once gives back without a promise; a caller awaits it, or looks before it does. */
export type MaybePromise<T> = T | Promise<T>;

/** A run of bytes with one state. */
export interface Extent {
  /** Bytes from the start of the device. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** Nothing is stored here: reads need no work, writes may need room. */
  readonly hole: boolean;
  /** Reads give zeros. */
  readonly zero: boolean;
}

export interface ZeroOptions {
  /** The zeros may be a hole afterwards; otherwise their room is kept. Default true. */
  readonly mayTrim?: boolean;
  /** Fail with the code ENOTSUP, at once, unless it is faster than writing zeros. Default false. */
  readonly fast?: boolean;
}

/** Bytes; what a device works best with. */
export interface BlockSizes {
  /** A power of two up to 64 KiB: offsets and lengths are multiples of it. */
  readonly minimum: number;
  readonly preferred: number;
  readonly maximum: number;
}

/**
 * Offsets and lengths are safe integers, in bytes; the range lies within `size`, and outside it a method throws a
 * `RangeError`. A method that is absent is not supported: without `write` the device is read-only. Failures carry a
 * `code` as Node.js has them (`EIO`, `ENOSPC`, …).
 *
 * Methods may be called concurrently; ranges that overlap then have the bytes of either. After `write` is done the
 * bytes can be read by everybody; after a `flush` that began later they survive a crash. The buffers belong to the
 * backend until a method is done, and to the caller afterwards.
 */
export interface BlockBackend {
  /** Bytes. Changes by `resize` only. */
  readonly size: number;
  readonly blockSizes?: BlockSizes | undefined;
  /** Of what is read, where somebody else may change it: another one has another text. An ETag, for example. */
  readonly version?: string | undefined;
  /** Fills the whole buffer, or throws. */
  read(into: Uint8Array, offset: number): MaybePromise<void>;
  write?(bytes: Uint8Array, offset: number): MaybePromise<void>;
  /** Makes everything durable whose `write`, `trim` or `zero` was done before this began. */
  flush?(): MaybePromise<void>;
  /** Gives up what is stored; what is read there afterwards is not defined. A hint: it may do nothing. */
  trim?(offset: number, length: number): MaybePromise<void>;
  /** Afterwards the range reads as zeros. */
  zero?(offset: number, length: number, options?: ZeroOptions): MaybePromise<void>;
  /** The states of the whole range, in order, without gaps; two neighbours differ. */
  extents?(offset: number, length: number): MaybePromise<readonly Extent[]>;
  /** A hint that the range will be read soon. */
  prefetch?(offset: number, length: number): MaybePromise<void>;
  /** New bytes at the end read as zeros. */
  resize?(size: number): MaybePromise<void>;
  /** Gives everything up; nothing else is called afterwards. Does not flush. */
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

/** Joins neighbours of one state, drops empty ones. */
export function joined(extents: Iterable<Extent>): Extent[] {
  const all: Extent[] = [];
  for (const extent of extents) {
    const last = all.at(-1);
    if (extent.length === 0) continue;
    if (last?.hole === extent.hole && last.zero === extent.zero)
      all[all.length - 1] = { ...last, length: last.length + extent.length };
    else all.push(extent);
  }
  return all;
}
