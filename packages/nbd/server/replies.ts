/**
 * The replies of the transmission phase in the agreed form: simple, structured, or with extended headers.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md#structured-reply-message
 */
import type { Extent } from '@nodeos/block';
import type { Agreement } from './handshake.js';
import type { Outbox, Slot } from '../wire/outbox.js';
import {
  CHUNK,
  COMMAND,
  DONE,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REPLY_SIZE,
  SIMPLE_REPLY_MAGIC,
  SIMPLE_REPLY_SIZE,
  STATE,
  STRUCTURED_REPLY_MAGIC,
  STRUCTURED_REPLY_SIZE,
  encodeText,
  writeUInt64,
  type ReceivedRequest,
} from '../wire/protocol.js';
import { numberOf, messageOf } from '../wire/reply-errors.js';

/** Largest error message in bytes. */
const MAX_MESSAGE = 1024;

type Cookie = Pick<ReceivedRequest, 'cookieHigh' | 'cookieLow' | 'offsetHigh' | 'offsetLow'>;

export class Replies {
  readonly structured: boolean;
  readonly #extended: boolean;
  /** Bytes of the header of a chunk. */
  readonly #head: number;

  constructor(
    private readonly outbox: Outbox,
    { structured, extended }: Pick<Agreement, 'structured' | 'extended'>,
  ) {
    this.structured = structured;
    this.#extended = extended;
    this.#head = extended ? EXTENDED_REPLY_SIZE : structured ? STRUCTURED_REPLY_SIZE : SIMPLE_REPLY_SIZE;
  }

  /** Success without data. With structured replies a simple reply is allowed too, and shorter, except for a read. */
  success(request: ReceivedRequest): void {
    if (this.#extended || (this.structured && request.type === COMMAND.READ))
      return this.#chunk(request, CHUNK.NONE, DONE, 0);
    const slot = this.outbox.reserve(SIMPLE_REPLY_SIZE);
    this.#simple(slot, request, 0);
    this.outbox.send(slot);
  }

  error(request: Cookie, error: unknown): void {
    if (!this.structured) {
      const slot = this.outbox.reserve(SIMPLE_REPLY_SIZE);
      this.#simple(slot, request, numberOf(error));
      return this.outbox.send(slot);
    }
    const message = encodeText(messageOf(error), MAX_MESSAGE);
    this.#chunk(request, CHUNK.ERROR, DONE, 6 + message.length, (bytes, at) => {
      bytes.writeUInt32BE(numberOf(error), at);
      bytes.writeUInt16BE(message.length, at + 4);
      bytes.set(message, at + 6);
    });
  }

  /** Reserves memory for the reply to a read, or for one piece of it; `dataOf` is the part for the data. */
  reserveData(length: number): Slot {
    return this.outbox.reserve(this.#dataAt + length);
  }

  dataOf({ slab, start, end }: Slot): Buffer {
    return slab.bytes.subarray(start + this.#dataAt, end);
  }

  cancel(slot: Slot): void {
    this.outbox.cancel(slot);
  }

  /** @param offset of the data on the device, in bytes */
  sendData(slot: Slot, request: Cookie, offset: number, isLast: boolean): void {
    const { slab, start, end } = slot;
    if (this.structured) {
      this.#header(slab.bytes, start, request, CHUNK.OFFSET_DATA, isLast ? DONE : 0, end - start - this.#head);
      writeUInt64(slab.bytes, offset, start + this.#head);
    } else this.#simple(slot, request, 0);
    this.outbox.send(slot);
  }

  /** Sends a hole instead of zeros; only for structured replies. */
  sendHole(request: Cookie, offset: number, length: number, isLast: boolean): void {
    this.#chunk(request, CHUNK.OFFSET_HOLE, isLast ? DONE : 0, 12, (bytes, at) => {
      writeUInt64(bytes, offset, at);
      bytes.writeUInt32BE(length, at + 8);
    });
  }

  /** @param extents from 1 to 2^20 extents within the request, so with compact headers their lengths fit in 32 bits */
  sendExtents(request: Cookie, context: number, extents: readonly Extent[], isLast: boolean): void {
    const flags = isLast ? DONE : 0;
    if (this.#extended)
      return this.#chunk(request, CHUNK.BLOCK_STATUS_EXT, flags, 8 + extents.length * 16, (bytes, at) => {
        bytes.writeUInt32BE(context, at);
        bytes.writeUInt32BE(extents.length, at + 4);
        for (const [index, extent] of extents.entries()) {
          writeUInt64(bytes, extent.length, at + 8 + index * 16);
          writeUInt64(bytes, stateOf(extent), at + 16 + index * 16);
        }
      });
    this.#chunk(request, CHUNK.BLOCK_STATUS, flags, 4 + extents.length * 8, (bytes, at) => {
      bytes.writeUInt32BE(context, at);
      for (const [index, extent] of extents.entries()) {
        bytes.writeUInt32BE(extent.length, at + 4 + index * 8);
        bytes.writeUInt32BE(stateOf(extent), at + 8 + index * 8);
      }
    });
  }

  get #dataAt(): number {
    return this.structured ? this.#head + 8 : this.#head;
  }

  #simple({ slab: { bytes }, start }: Slot, { cookieHigh, cookieLow }: Cookie, error: number): void {
    bytes.writeUInt32BE(SIMPLE_REPLY_MAGIC, start);
    bytes.writeUInt32BE(error, start + 4);
    bytes.writeUInt32BE(cookieHigh, start + 8);
    bytes.writeUInt32BE(cookieLow, start + 12);
  }

  #chunk(
    request: Cookie,
    type: number,
    flags: number,
    length: number,
    fill?: (bytes: Buffer, at: number) => void,
  ): void {
    const slot = this.outbox.reserve(this.#head + length);
    this.#header(slot.slab.bytes, slot.start, request, type, flags, length);
    fill?.(slot.slab.bytes, slot.start + this.#head);
    this.outbox.send(slot);
  }

  #header(bytes: Buffer, at: number, request: Cookie, type: number, flags: number, length: number): void {
    bytes.writeUInt32BE(this.#extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC, at);
    bytes.writeUInt16BE(flags, at + 4);
    bytes.writeUInt16BE(type, at + 6);
    bytes.writeUInt32BE(request.cookieHigh, at + 8);
    bytes.writeUInt32BE(request.cookieLow, at + 12);
    if (this.#extended) {
      bytes.writeUInt32BE(request.offsetHigh, at + 16);
      bytes.writeUInt32BE(request.offsetLow, at + 20);
      writeUInt64(bytes, length, at + 24);
    } else bytes.writeUInt32BE(length, at + 16);
  }
}

const stateOf = ({ hole, zero }: Extent): number => (hole ? STATE.HOLE : 0) | (zero ? STATE.ZERO : 0);
