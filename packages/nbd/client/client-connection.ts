/**
 * The client's side of the transmission phase: requests out, replies in, in the order in which the server is done.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md#transmission
 */
import type { Extent } from '@nodeos/block';
import type { Negotiated } from './client-handshake.js';
import { Coverage } from './coverage.js';
import { connectionLost } from '../wire/errors.js';
import type { Inbox } from '../wire/inbox.js';
import { Outbox } from '../wire/outbox.js';
import { Pool } from '../wire/pool.js';
import {
  CHUNK,
  CHUNK_ERROR_BIT,
  COMMAND,
  COMMAND_FLAG,
  DONE,
  encodeRequest,
  ERROR,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REPLY_SIZE,
  EXTENDED_REQUEST_SIZE,
  Fields,
  MAX_EXTENTS,
  MAX_STRING,
  nameOf,
  ProtocolError,
  readUInt64,
  REQUEST_SIZE,
  SIMPLE_REPLY_MAGIC,
  SIMPLE_REPLY_SIZE,
  STATE,
  STRUCTURED_REPLY_MAGIC,
  STRUCTURED_REPLY_SIZE,
} from '../wire/protocol.js';
import { NbdError, errorNameOf, printable } from '../wire/reply-errors.js';
import { translateTlsError } from '../wire/tls-errors.js';

/** A piece of work for the server. It may be sent more than once. */
export interface Job {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** The data of a write. */
  readonly payload?: Uint8Array | undefined;
  /** The buffer of a read. */
  readonly into?: Buffer | undefined;
  /** The extents of a block status request, filled by the replies. */
  readonly extents: Extent[];
  resolve(): void;
  reject(error: Error): void;
}

/** A job that waits for its reply. */
interface Pending {
  readonly job: Job;
  /** For a read or a block status request: whether everything has arrived. */
  isComplete: boolean;
  /** The parts that have arrived, if a read arrives in parts. */
  parts?: Coverage;
  /** Number of chunks that have arrived. */
  chunks: number;
  error: NbdError | undefined;
}

/** Bytes. Payloads up to this size are copied behind their header; larger ones are sent without a copy. */
const MAX_COPIED = 32 << 10;
/** Largest error chunk, or chunk of an unknown type, in bytes. */
const MAX_TEXT = MAX_STRING + 64;
/** Most chunks in one reply. */
const MAX_CHUNKS = 1 << 16;

const pool = new Pool();

export class ClientConnection {
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #pending = new Map<number, Pending>();
  readonly #header: Buffer;
  #cookie = 0;
  #isTerminated = false;

  /** @param onTerminated called once, with the unanswered jobs */
  constructor(
    readonly negotiated: Negotiated,
    private readonly onTerminated: (error: Error, unanswered: Job[]) => void,
  ) {
    const { inbox, socket, extended, structured } = negotiated;
    this.#inbox = inbox;
    this.#outbox = new Outbox(socket, pool);
    this.#header = Buffer.alloc(
      extended ? EXTENDED_REPLY_SIZE : structured ? STRUCTURED_REPLY_SIZE : SIMPLE_REPLY_SIZE,
    );
    socket.on('error', (error) => this.#terminate(translateTlsError(error)));
    socket.on('end', () => this.#terminate(connectionLost('the server closed the connection')));
    socket.on('close', () => this.#terminate(connectionLost('the connection was lost')));
  }

  /** Starts reading replies. Bytes that have already arrived may end the connection. */
  start(): void {
    this.#next();
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  send(job: Job): void {
    const { extended } = this.negotiated;
    const { payload } = job;
    job.extents.length = 0; // it may have been sent before
    this.#cookie = (this.#cookie + 1) >>> 0;
    this.#pending.set(this.#cookie, { job, isComplete: false, chunks: 0, error: undefined });
    const head = extended ? EXTENDED_REQUEST_SIZE : REQUEST_SIZE;
    const copied = payload && payload.length <= MAX_COPIED ? payload.length : 0;
    const slot = this.#outbox.reserve(head + copied);
    const bytes = slot.slab.bytes.subarray(slot.start, slot.end);
    const flags = job.flags | (extended && payload ? COMMAND_FLAG.PAYLOAD_LEN : 0);
    encodeRequest(bytes, { ...job, flags, cookieHigh: 0, cookieLow: this.#cookie }, extended);
    if (payload && copied) bytes.set(payload, head);
    this.#outbox.send(slot);
    if (payload && !copied) this.#outbox.sendBytes(Buffer.from(payload.buffer, payload.byteOffset, payload.length));
  }

  /** Tells the server that no more requests follow. All jobs must be done before. */
  disconnect(): void {
    if (this.#isTerminated) return;
    const { extended, socket } = this.negotiated;
    const bytes = Buffer.alloc(extended ? EXTENDED_REQUEST_SIZE : REQUEST_SIZE);
    const disc = { type: COMMAND.DISC, flags: 0, offset: 0, length: 0, cookieHigh: 0, cookieLow: 0 };
    encodeRequest(bytes, disc, extended);
    this.#isTerminated = true;
    socket.write(bytes);
    socket.end(() => socket.destroy());
  }

  terminate(error: Error): void {
    this.#terminate(error);
  }

  #terminate(error: Error): void {
    if (this.#isTerminated) return;
    this.#isTerminated = true;
    this.negotiated.socket.destroy();
    const unanswered = [...this.#pending.values()].map(({ job }) => job);
    this.#pending.clear();
    this.onTerminated(error, unanswered);
  }

  /** A protocol error ends the connection. */
  #step(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#terminate(error as Error);
    }
  }

  #next(): void {
    if (this.#isTerminated) return;
    // Simple and structured replies may alternate, so the shorter header is read first.
    const first = this.negotiated.extended ? EXTENDED_REPLY_SIZE : SIMPLE_REPLY_SIZE;
    this.#inbox.next(this.#header.subarray(0, first), () => this.#step(this.#onHeader));
  }

  readonly #onHeader = (): void => {
    const { extended, structured } = this.negotiated;
    const magic = this.#header.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC && !extended) return this.#onSimple();
    if (extended && magic === EXTENDED_REPLY_MAGIC) return this.#onChunk(readUInt64(this.#header, 24));
    if (!structured || extended || magic !== STRUCTURED_REPLY_MAGIC)
      throw new ProtocolError(`a reply with the magic number 0x${magic.toString(16)}`);
    const tail = this.#header.subarray(SIMPLE_REPLY_SIZE);
    this.#inbox.next(tail, () => this.#step(() => this.#onChunk(this.#header.readUInt32BE(16))));
  };

  #pendingOf(): [cookie: number, pending: Pending] {
    const cookie = this.#header.readUInt32BE(12);
    const pending = this.#header.readUInt32BE(8) === 0 ? this.#pending.get(cookie) : undefined;
    if (!pending) throw new ProtocolError('a reply to nothing that was asked');
    return [cookie, pending];
  }

  #onSimple(): void {
    const [cookie, pending] = this.#pendingOf();
    const { job } = pending;
    const error = this.#header.readUInt32BE(4);
    if (job.type === COMMAND.BLOCK_STATUS && error === 0) throw new ProtocolError('a block status without one');
    if (error !== 0) pending.error = errorOf(error, '', job);
    if (error !== 0 || !job.into) return this.#finish(cookie, pending);
    if (this.negotiated.structured) throw new ProtocolError('a simple reply to a read');
    pending.isComplete = true;
    this.#inbox.next(job.into, () => this.#finish(cookie, pending));
  }

  #onChunk(length: number): void {
    const [cookie, pending] = this.#pendingOf();
    const flags = this.#header.readUInt16BE(4);
    const type = this.#header.readUInt16BE(6);
    const isLast = (flags & DONE) !== 0;
    if (!isLast && (type === CHUNK.NONE || ++pending.chunks > MAX_CHUNKS))
      throw new ProtocolError(`a reply that does not end after ${pending.chunks} chunks`);
    const callback = (): void => (isLast ? this.#finish(cookie, pending) : this.#next());
    if (type === CHUNK.OFFSET_DATA) return this.#onData(pending, length, callback);
    if (length > maxLengthOf(type)) throw new ProtocolError(`a chunk ${nameOf(CHUNK, type)} of ${length} bytes`);
    const bytes = Buffer.allocUnsafe(length);
    this.#inbox.next(bytes, () =>
      this.#step(() => {
        const read = READERS[type] ?? (type & CHUNK_ERROR_BIT ? READERS[CHUNK.ERROR] : undefined);
        if (!read) throw new ProtocolError(`a chunk of the unknown type ${type}`);
        read(pending, new Fields(bytes, `a chunk ${nameOf(CHUNK, type)}`), this.negotiated);
        callback();
      }),
    );
  }

  /** Reads the data straight into the reader's buffer. */
  #onData(pending: Pending, length: number, callback: () => void): void {
    const at = Buffer.allocUnsafe(8);
    this.#inbox.next(at, () =>
      this.#step(() => this.#inbox.next(pieceOf(pending, readUInt64(at, 0), length - 8), () => this.#step(callback))),
    );
  }

  #finish(cookie: number, { job, error, isComplete, parts }: Pending): void {
    // The connection is as good as lost: another one, or the restarted server, can do the job instead.
    if (error?.code === 'ESHUTDOWN') return this.#terminate(error);
    const answers = job.into !== undefined || job.type === COMMAND.BLOCK_STATUS;
    if (answers && !error && !isComplete && !parts?.isWhole(job.length))
      throw new ProtocolError(`a ${nameOf(COMMAND, job.type)} that was answered in part`);
    this.#pending.delete(cookie);
    if (error) job.reject(error);
    else job.resolve();
    this.#next();
  }
}

/** The part of a read's buffer for a chunk. @throws ProtocolError if the chunk is not within the request */
function pieceOf(pending: Pending, offset: number, length: number): Buffer {
  const { job } = pending;
  const from = offset - job.offset;
  if (!job.into || from < 0 || length <= 0 || from + length > job.length)
    throw new ProtocolError(`${length} bytes at ${offset} that were not asked for`);
  if (length === job.length && !pending.isComplete && !pending.parts) pending.isComplete = true;
  else if (pending.isComplete) throw new ProtocolError(`${length} bytes of a read that came before`);
  else (pending.parts ??= new Coverage()).add(from, length);
  return job.into.subarray(from, from + length);
}

type Reader = (pending: Pending, fields: Fields, negotiated: Negotiated) => void;

/** Handlers of chunks by type. Data is read elsewhere, without a copy. */
const READERS: Readonly<Record<number, Reader>> = {
  [CHUNK.NONE]: (_pending, fields) => fields.expectEnd(),
  [CHUNK.OFFSET_HOLE]: (pending, fields) => void pieceOf(pending, fields.uint64(), fields.uint32()).fill(0),
  [CHUNK.BLOCK_STATUS](pending, fields, negotiated) {
    addExtents(pending, negotiated, fields.uint32(), fields.remaining / 8, () => [fields.uint32(), fields.uint32()]);
  },
  [CHUNK.BLOCK_STATUS_EXT](pending, fields, negotiated) {
    const id = fields.uint32();
    const count = fields.uint32();
    if (count * 16 !== fields.remaining) throw new ProtocolError(`${count} descriptors in ${fields.remaining} bytes`);
    addExtents(pending, negotiated, id, count, () => [fields.uint64(), fields.uint64()]);
  },
  [CHUNK.ERROR](pending, fields) {
    const number = fields.uint32();
    pending.error ??= errorOf(number, fields.read(Math.min(fields.remaining, fields.uint16())).toString(), pending.job);
  },
};

const maxLengthOf = (type: number): number =>
  ({ [CHUNK.BLOCK_STATUS]: 4 + 8 * MAX_EXTENTS, [CHUNK.BLOCK_STATUS_EXT]: 8 + 16 * MAX_EXTENTS })[type] ?? MAX_TEXT;

/** Descriptors are consecutive from the offset of the request. Those beyond its end are cut. */
function addExtents(
  pending: Pending,
  { allocation }: Negotiated,
  id: number,
  count: number,
  next: () => [length: number, state: number],
): void {
  const { job } = pending;
  const isExpected = job.type === COMMAND.BLOCK_STATUS && id === allocation && Number.isInteger(count) && count > 0;
  if (!isExpected || pending.isComplete) throw new ProtocolError('a block status that was not asked for');
  pending.isComplete = true;
  const end = job.offset + job.length;
  let offset = job.offset;
  for (let index = 0; index < count && offset < end; index++) {
    const [length, state] = next();
    if (length === 0) throw new ProtocolError('an extent of no bytes');
    const hole = (state & STATE.HOLE) !== 0;
    job.extents.push({ offset, length: Math.min(length, end - offset), hole, zero: (state & STATE.ZERO) !== 0 });
    offset += length;
  }
}

/** @param number an unknown number counts as EINVAL */
function errorOf(number: number, text: string, { type, offset, length }: Job): NbdError {
  const name = nameOf(ERROR, number);
  const code = errorNameOf({ code: name in ERROR ? name : 'EINVAL' });
  const clean = printable(text);
  const command = `${nameOf(COMMAND, type)} of ${length} bytes at ${offset}`;
  return new NbdError(
    code,
    `${code}: the server refused ${command}${clean === '' || clean === code ? '' : `: ${clean}`}`,
  );
}
