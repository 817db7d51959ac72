/** What a device holds as a stream of bytes: for pipes, hashes and what else cannot seek. */
import type { BlockBackend } from './backend.js';
import { about, cut, partsOf, unitOf, type Part } from './parts.js';
import { ZEROS } from './sizes.js';

export interface ContentOptions {
  /** Pieces that are read ahead, from 1; each has a buffer. Default 4. */
  readonly requests?: number;
}

const PIECE = ZEROS.length;

/**
 * All bytes in order, in pieces of at most a MiB; who takes none makes it wait. What is a hole is not read. The pieces must
 * not be changed: zeros share one.
 * @throws what the device fails with
 */
export async function* contentOf(
  device: BlockBackend,
  { requests = 4 }: ContentOptions = {},
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array>[] = [];
  try {
    for await (const part of partsOf(device, unitOf(device, device)))
      for (const piece of cut(part, PIECE)) {
        const bytes = bytesOf(device, piece);
        bytes.catch(() => undefined); // told when it is its turn
        ahead.push(bytes);
        if (ahead.length >= requests) yield await (ahead.shift() as Promise<Uint8Array>);
      }
    for (let next = ahead.shift(); next; next = ahead.shift()) yield await next;
  } finally {
    await Promise.allSettled(ahead); // nothing is under way when it ends
  }
}

async function bytesOf(device: BlockBackend, { offset, length, zero }: Part): Promise<Uint8Array> {
  if (zero) return ZEROS.subarray(0, length);
  const bytes = Buffer.allocUnsafeSlow(length);
  await about('reading', 'the source', offset, length, () => device.read(bytes, offset));
  return bytes;
}
