/** Splits a device into parts that are zero and parts that must be read. */
import { failure, type BlockBackend } from './backend.js';
import { extentsOf, pieces, roundUp, ZEROS } from './sizes.js';

/** A range of the source. */
export interface Part {
  readonly offset: number;
  readonly length: number;
  readonly zero: boolean;
}

/** Holes smaller than this, in bytes, are read like data, because separate requests cost more. */
const GRAIN = 4096;
/** Bytes to query for extents at once. */
const SPAN = 1 << 30;

/** A unit of alignment in bytes that suits both devices. */
export const unitOf = (a: BlockBackend, b: BlockBackend): number =>
  Math.max(GRAIN, a.blockSizes?.minimum ?? 1, b.blockSizes?.minimum ?? 1);

/** All of a device in order. Parts of zeros begin and end at multiples of `unit`; other parts fill the gaps. */
export async function* partsOf(device: BlockBackend, unit: number): AsyncGenerator<Part> {
  for (const [start, length] of pieces(0, device.size, SPAN)) {
    let at = start;
    for (const { offset, length: count, zero } of await extentsOf(device, start, length)) {
      const [from, to] = [roundUp(offset, unit), offset + count - ((offset + count) % unit)];
      if (!zero || to <= from) continue;
      if (from > at) yield { offset: at, length: from - at, zero: false };
      yield { offset: from, length: to - from, zero: true };
      at = to;
    }
    if (start + length > at) yield { offset: at, length: start + length - at, zero: false };
  }
}

/** Splits a part into pieces that fit into one request. */
export function* splitPart({ offset, length, zero }: Part, largest: number): Generator<Part> {
  for (const [at, count] of pieces(offset, length, largest)) yield { offset: at, length: count, zero };
}

/** Parts of `ZEROS` stand for what was not read, and are not looked at. */
export const isZero = (bytes: Uint8Array): boolean =>
  bytes.buffer === ZEROS.buffer ||
  [...pieces(0, bytes.length, ZEROS.length)].every(
    ([at, length]) => Buffer.compare(bytes.subarray(at, at + length), ZEROS.subarray(0, length)) === 0,
  );

/** Runs `work`; an error names the device and the range, and keeps its code. */
export async function withErrorContext<T>(
  action: string,
  subject: string,
  offset: number,
  length: number,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const text = `${action} ${length} bytes at ${offset} of ${subject}: ${String(message ?? error)}`;
    throw failure(typeof code === 'string' ? code : 'EIO', text, error);
  }
}
