/** The contents of a device as a stream of bytes: for pipes, hashes and other consumers that cannot seek. */
import type { BlockBackend } from './backend.js';
import { withErrorContext, splitPart, partsOf, unitOf, type Part } from './parts.js';
import { ZEROS } from './sizes.js';

export interface ContentOptions {
  /** Pieces to read ahead, at least 1. Each needs a buffer. Default 4. */
  readonly requests?: number;
}

const PIECE = ZEROS.length;

/**
 * All bytes in order, in pieces of at most 1 MiB. A slow consumer slows the reading. Holes are not read. The caller
 * must not change the pieces, because all zeros share one buffer.
 * @throws the device's errors
 */
export async function* contentOf(
  device: BlockBackend,
  { requests = 4 }: ContentOptions = {},
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array>[] = [];
  try {
    for await (const part of partsOf(device, unitOf(device, device)))
      for (const piece of splitPart(part, PIECE)) {
        const bytes = readPart(device, piece);
        bytes.catch(() => undefined); // reported when its turn comes
        ahead.push(bytes);
        if (ahead.length >= requests) yield await (ahead.shift() as Promise<Uint8Array>);
      }
    for (let next = ahead.shift(); next; next = ahead.shift()) yield await next;
  } finally {
    await Promise.allSettled(ahead); // no request may outlive the stream
  }
}

async function readPart(device: BlockBackend, { offset, length, zero }: Part): Promise<Uint8Array> {
  if (zero) return ZEROS.subarray(0, length);
  const bytes = Buffer.allocUnsafeSlow(length);
  await withErrorContext('reading', 'the source', offset, length, () => device.read(bytes, offset));
  return bytes;
}
