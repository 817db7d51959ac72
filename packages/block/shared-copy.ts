/**
 * Copies to and from shared memory. V8 copies it word by word, so that no thread sees half of one. Where both sides lie
 * differently within their words, it copies byte by byte, which is six times slower. Such bytes take a detour through a
 * buffer that is not shared.
 */

const WORD = 8;
/** Bytes of the detour. Small, so that they stay in the processor's cache. */
const DETOUR = 32 << 10;
/** Shorter copies gain nothing. */
const SHORT = 256;

let detour: Buffer | undefined;

/** Copies `length` bytes. `to` or `from` is shared memory. */
export function copyShared(from: Uint8Array, start: number, to: Uint8Array, at: number, length: number): void {
  const place = (from.byteOffset + start) % WORD;
  if (length < SHORT || place === (to.byteOffset + at) % WORD) return copy(from, start, to, at, length);
  detour ??= Buffer.allocUnsafeSlow(DETOUR + WORD);
  const shared = from.buffer instanceof SharedArrayBuffer ? place : (to.byteOffset + at) % WORD;
  for (let done = 0; done < length; done += DETOUR) {
    const count = Math.min(DETOUR, length - done);
    copy(from, start + done, detour, shared, count);
    copy(detour, shared, to, at + done, count);
  }
}

/** `Buffer.copy` copies a part without making a view of it. */
function copy(from: Uint8Array, start: number, to: Uint8Array, at: number, length: number): void {
  if (Buffer.isBuffer(from)) from.copy(to, at, start, start + length);
  else to.set(length === from.length ? from : from.subarray(start, start + length), at);
}
