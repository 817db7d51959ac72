/**
 * The numbers of the NBD protocol, with the names of its specification, and the fixed-size headers.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 *
 * All integers are big-endian. Offsets and lengths are numbers here, because no device has more than 2^53 bytes.
 */
import type { BlockSizes } from '@nodeos/block';

export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
/** The first magic number of the oldstyle handshake without options. No current server should use it. */
export const OLDSTYLE_MAGIC = 0x00420281861253n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;

export const REQUEST_MAGIC = 0x25609513;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

/** Sizes of headers on the wire, in bytes. */
export const REQUEST_SIZE = 28;
export const EXTENDED_REQUEST_SIZE = 32;
export const SIMPLE_REPLY_SIZE = 16;
export const STRUCTURED_REPLY_SIZE = 20;
export const EXTENDED_REPLY_SIZE = 32;
export const OPTION_SIZE = 16;
export const OPTION_REPLY_SIZE = 20;

export const DEFAULT_PORT = 10809;
/** Largest name, description, query or error message, in bytes. */
export const MAX_STRING = 4096;
/** Bytes that every peer accepts in one request; also the default of the maximum block size. */
export const MAX_BLOCK = 1 << 25;
/** Block sizes of a device or a server that does not state them. */
export const DEFAULT_SIZES: BlockSizes = { minimum: 1, preferred: 4096, maximum: MAX_BLOCK };
/** Most descriptors in one block status chunk. */
export const MAX_EXTENTS = 1 << 20;

/** Handshake flags of both sides: bit 0 is FIXED_NEWSTYLE, bit 1 NO_ZEROES. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

export const OPTION = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;

const ERROR_BIT = 0x80000000;
export const REPLY = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: ERROR_BIT + 1,
  ERR_POLICY: ERROR_BIT + 2,
  ERR_INVALID: ERROR_BIT + 3,
  ERR_PLATFORM: ERROR_BIT + 4,
  ERR_TLS_REQD: ERROR_BIT + 5,
  ERR_UNKNOWN: ERROR_BIT + 6,
  ERR_SHUTDOWN: ERROR_BIT + 7,
  ERR_BLOCK_SIZE_REQD: ERROR_BIT + 8,
  ERR_TOO_BIG: ERROR_BIT + 9,
  ERR_EXT_HEADER_REQD: ERROR_BIT + 10,
} as const;

export const INFO = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

/** Transmission flags: the capabilities of an export. */
export const FLAG = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const;

export const COMMAND = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
  /** https://github.com/NetworkBlockDevice/nbd/blob/extension-resize/doc/proto.md: the offset is the new size. */
  RESIZE: 8,
} as const;

export const COMMAND_FLAG = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const;

export const CHUNK = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;
/** The flag of the last chunk of a reply. */
export const DONE = 1;
/** The bit that marks chunk types that are errors. */
export const CHUNK_ERROR_BIT = 0x8000;

/** States of `base:allocation`. */
export const STATE = { HOLE: 1, ZERO: 2 } as const;
export const BASE_ALLOCATION = 'base:allocation';

export const ERROR = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type ErrorName = keyof typeof ERROR;

/** The name of a number, or the number itself if it has none: `nameOf(COMMAND, 1)` is WRITE. */
export const nameOf = (table: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(table).find(([, number]) => number === value)?.[0] ?? String(value);

/** The names of the set bits. */
export const namesOf = (table: Readonly<Record<string, number>>, bits: number): string[] =>
  Object.entries(table).flatMap(([name, bit]) => (bits & bit ? [name] : []));

const TWO_32 = 2 ** 32;

/** A 64-bit number. Values above 2^53 are inexact, and beyond every device. */
export const readUInt64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);

export function writeUInt64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / TWO_32), at);
  bytes.writeUInt32BE(value % TWO_32, at + 4);
}

/** A request of a client. The cookie is two words, because a BigInt per request would cost more than all the rest. */
export interface Request {
  readonly flags: number;
  readonly type: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offset: number;
  readonly length: number;
}

/** An offset may exceed the safe integers, and an extended reply repeats it exactly. */
export interface ReceivedRequest extends Request {
  readonly offsetHigh: number;
  readonly offsetLow: number;
}

/** @returns undefined if the magic number is wrong */
export function decodeRequest(bytes: Buffer, extended: boolean): ReceivedRequest | undefined {
  if (bytes.readUInt32BE(0) !== (extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC)) return undefined;
  const offsetHigh = bytes.readUInt32BE(16);
  const offsetLow = bytes.readUInt32BE(20);
  return {
    flags: bytes.readUInt16BE(4),
    type: bytes.readUInt16BE(6),
    cookieHigh: bytes.readUInt32BE(8),
    cookieLow: bytes.readUInt32BE(12),
    offset: offsetHigh * TWO_32 + offsetLow,
    offsetHigh,
    offsetLow,
    length: extended ? readUInt64(bytes, 24) : bytes.readUInt32BE(24),
  };
}

export function encodeRequest(bytes: Buffer, request: Request, extended: boolean): void {
  bytes.writeUInt32BE(extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(request.flags, 4);
  bytes.writeUInt16BE(request.type, 6);
  bytes.writeUInt32BE(request.cookieHigh, 8);
  bytes.writeUInt32BE(request.cookieLow, 12);
  writeUInt64(bytes, request.offset, 16);
  if (extended) writeUInt64(bytes, request.length, 24);
  else bytes.writeUInt32BE(request.length, 24);
}

/** An option of a client: magic number, option, length, data. */
export function encodeOption(option: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(OPTION_SIZE + data.length);
  bytes.writeBigUInt64BE(IHAVEOPT, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(data.length, 12);
  bytes.set(data, OPTION_SIZE);
  return bytes;
}

/** A reply to an option: magic number, option, type, length, data. */
export function encodeOptionReply(option: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(OPTION_REPLY_SIZE + data.length);
  bytes.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, OPTION_REPLY_SIZE);
  return bytes;
}

/** A string with its length in 32 bits. */
export function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** A text for people in at most `limit` bytes (default 4096). A longer text is cut. */
export function encodeText(text: string, limit = MAX_STRING): Buffer {
  const bytes = Buffer.from(text);
  let end = Math.min(bytes.length, limit);
  // Do not cut within a character: its later bytes begin with the bits 10.
  while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

export function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value, 0);
  return bytes;
}

export function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  writeUInt64(bytes, value, 0);
  return bytes;
}

/** The peer violated the protocol, so the connection cannot continue. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code = 'EPROTO';
}

/**
 * Reads consecutive fields from the data of an option or a reply. Every method throws a ProtocolError at the end of the
 * data.
 */
export class Fields {
  #at = 0;
  constructor(
    private readonly bytes: Buffer,
    private readonly subject: string,
  ) {}

  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  read(length: number): Buffer {
    if (length > this.remaining)
      throw new ProtocolError(`${this.subject}: ${length} bytes wanted, ${this.remaining} are left`);
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }

  uint16 = (): number => this.read(2).readUInt16BE(0);
  uint32 = (): number => this.read(4).readUInt32BE(0);
  uint64 = (): number => readUInt64(this.read(8), 0);

  /** @throws ProtocolError also for more than 4096 bytes, a NUL, or bytes that are not UTF-8 */
  string(length = this.uint32()): string {
    if (length > MAX_STRING)
      throw new ProtocolError(`${this.subject}: a string of ${length} bytes; ${MAX_STRING} are the most`);
    const bytes = this.read(length);
    const text = bytes.toString();
    if (text.includes('\0') || !Buffer.from(text).equals(bytes))
      throw new ProtocolError(`${this.subject}: not a string`);
    return text;
  }

  expectEnd(): void {
    if (this.remaining > 0) throw new ProtocolError(`${this.subject}: ${this.remaining} bytes too many`);
  }
}
