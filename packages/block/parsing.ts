/** Reads formats from an untrusted device, in which any offset may be wrong. */
import { aligned } from './aligned.js';
import { failure, type BlockBackend } from './backend.js';

export interface Parsing {
  /** Bytes of the device. */
  readonly size: number;
  /** @throws Error with the code EINVAL, which names `subject`, if the range is not within the device */
  bytes(offset: number, length: number, subject: string): Promise<Buffer>;
  /** Makes an error about the contents of the device, with the code EINVAL. */
  readonly formatError: (reason: string) => Error;
}

/** @param format the format for messages, such as `qcow2` */
export function parsing(device: BlockBackend, format: string): Parsing {
  const inner = aligned(device);
  const formatError = (reason: string): Error => failure('EINVAL', `${format}: ${reason}`);
  return {
    size: inner.size,
    formatError,
    async bytes(offset, length, subject) {
      if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= inner.size))
        throw formatError(`${subject} should be at byte ${offset}, and the device has ${inner.size} bytes`);
      const bytes = Buffer.alloc(length);
      await inner.read(bytes, offset);
      return bytes;
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
