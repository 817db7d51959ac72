/** Reads formats from an untrusted device, in which any offset may be wrong. */
import { aligned } from './aligned.js';
import { failure, type BlockBackend } from './backend.js';
import { partsOf, splitPart, unitOf } from './parts.js';
import { ZEROS } from './sizes.js';
import { slice } from './slice.js';

export interface Parsing {
  /** Bytes of the device. */
  readonly size: number;
  /** @throws Error with the code EINVAL, which names `subject`, if the range is not within the device */
  bytes(offset: number, length: number, subject: string): Promise<Buffer>;
  /**
   * The same in pieces of at most 1 MiB. What the device knows to be zero is not read: such a piece is a part of
   * `ZEROS`, and must not be changed.
   */
  content(offset: number, length: number, subject: string): AsyncGenerator<Buffer>;
  /** Makes an error about the contents of the device, with the code EINVAL. */
  readonly formatError: (reason: string) => Error;
}

/** @param format the format for messages, such as `qcow2` */
export function parsing(device: BlockBackend, format: string): Parsing {
  const inner = aligned(device);
  const formatError = (reason: string): Error => failure('EINVAL', `${format}: ${reason}`);
  const check = (offset: number, length: number, subject: string): void => {
    if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= inner.size))
      throw formatError(`${subject} should be at byte ${offset}, and the device has ${inner.size} bytes`);
  };
  const read = async (from: BlockBackend, offset: number, length: number): Promise<Buffer> => {
    const bytes = Buffer.alloc(length);
    await from.read(bytes, offset);
    return bytes;
  };
  return {
    size: inner.size,
    formatError,
    async bytes(offset, length, subject) {
      check(offset, length, subject);
      return read(inner, offset, length);
    },
    async *content(offset, length, subject) {
      check(offset, length, subject);
      const range = slice(inner, offset, length);
      for await (const part of partsOf(range, unitOf(range, range)))
        for (const piece of splitPart(part, ZEROS.length))
          yield piece.zero ? ZEROS.subarray(0, piece.length) : await read(range, piece.offset, piece.length);
    },
  };
}

/** The same for bytes in memory. */
export function parsingBytes(bytes: Buffer, format: string): Parsing {
  const device = {
    size: bytes.length,
    read: (into: Uint8Array, at: number) => into.set(bytes.subarray(at, at + into.length)),
  };
  return parsing({ ...device, close: () => undefined }, format);
}

/** A 64-bit number. A value above the largest safe integer becomes Infinity, which lies within no device. */
export function uint64LE(bytes: Buffer, at: number): number {
  return exact(bytes.readBigUInt64LE(at));
}
export function uint64BE(bytes: Buffer, at: number): number {
  return exact(bytes.readBigUInt64BE(at));
}
const exact = (value: bigint): number => (value > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(value));
