/** Reading a format from a device that nobody vouches for: every offset in it may be anything. */
import { aligned } from './aligned.js';
import { failure, type BlockBackend } from './backend.js';

export interface Parsing {
  /** Bytes of the device. */
  readonly size: number;
  /** @throws Error with the code EINVAL, naming what is looked for, if it is not within the device */
  bytes(offset: number, length: number, what: string): Promise<Buffer>;
  /** An error of the device's content, with the code EINVAL. */
  readonly bad: (why: string) => Error;
}

/** @param format what the device is taken for, for messages: `qcow2` */
export function parsing(device: BlockBackend, format: string): Parsing {
  const inner = aligned(device);
  const bad = (why: string): Error => failure('EINVAL', `${format}: ${why}`);
  return {
    size: inner.size,
    bad,
    async bytes(offset, length, what) {
      if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= inner.size))
        throw bad(`${what} should be at byte ${offset}, and the device has ${inner.size} bytes`);
      const bytes = Buffer.alloc(length);
      await inner.read(bytes, offset);
      return bytes;
    },
  };
}

/** The same of bytes in memory. */
export function parsingBytes(bytes: Buffer, format: string): Parsing {
  const device = {
    size: bytes.length,
    read: (into: Uint8Array, at: number) => into.set(bytes.subarray(at, at + into.length)),
  };
  return parsing({ ...device, close: () => undefined }, format);
}

/** 64 bits; what is more than any device has becomes Infinity, which is within none. */
export function uint64LE(bytes: Buffer, at: number): number {
  return exact(bytes.readBigUInt64LE(at));
}
export function uint64BE(bytes: Buffer, at: number): number {
  return exact(bytes.readBigUInt64BE(at));
}
const exact = (value: bigint): number => (value > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(value));
