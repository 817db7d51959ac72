/**
 * An export of an NBD server as a block backend: several connections, parallel requests, and reconnection that repeats
 * unanswered requests.
 *
 * A server that crashes may lose what it acknowledged but did not flush, like a disk. `strictFlush` decides what a
 * later `flush` reports about that.
 */
import { checkRange, failure, mergeExtents, pieces, type BlockBackend, type Extent } from '@nodeos/block';
import {
  Handshake,
  RefusedError,
  type ExportInfo,
  type MakeStream,
  type Negotiated,
  type Features,
} from './client-handshake.js';
import { ChangedError, Links } from './client-links.js';
import { COMMAND, COMMAND_FLAG, FLAG } from '../wire/protocol.js';
import { parseUri, tlsOf, type NbdUri } from '../wire/uri.js';
import type { ClientTls } from '../wire/tls.js';

export interface ClientOptions {
  /**
   * Most connections. More than one is used only if the server says that all its connections are consistent
   * (CAN_MULTI_CONN). Default 4.
   */
  readonly connections?: number;
  /** Most unanswered requests on each connection. Default 64. */
  readonly inFlight?: number;
  /** Seconds to keep trying after the server has gone or shuts down; 0 disables reconnection. Default 60. */
  readonly reconnectTimeout?: number;
  /**
   * Fail the first flush after every connection was lost while writes were not flushed, because a restarted server may
   * have lost them. Default false, which suits servers of files: their writes survive when the server is killed.
   */
  readonly strictFlush?: boolean;
  /**
   * Makes the stream for each connection, such as a WebSocket or a tunnel. Only the export, TLS and the host for the
   * certificate are taken from the URI then.
   */
  readonly stream?: MakeStream;
  /** Replaces the TLS settings of the URI. */
  readonly tls?: ClientTls;
  readonly features?: Features;
  /** Ends opening and reconnecting. `close` ends open connections. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ClientEvent) => void;
}

export interface ClientEvent {
  readonly event: 'connected' | 'lost' | 'gave-up';
  readonly error?: Error;
}

export interface NbdBackend extends BlockBackend {
  readonly info: ExportInfo;
  readonly mode: Handshake['mode'];
  readonly tls: boolean;
  /**
   * Whether every connection was lost while writes were not flushed, so a restarted server may have lost them. The next
   * flush resets it.
   */
  readonly mayBeLost: boolean;
  /** Absent if the server does not support flushes. Such a server may lose acknowledged writes when it crashes. */
  flush?(): Promise<void>;
  close(): Promise<void>;
}

/** Largest request with data in bytes, whatever the server accepts. */
const LARGEST = 8 << 20;
/** Largest request without data in bytes. */
const MAX_LENGTH = 0x40000000;
/** Commands whose effects a server may lose before a flush. */
const CHANGES: ReadonlySet<number> = new Set([COMMAND.WRITE, COMMAND.TRIM, COMMAND.WRITE_ZEROES, COMMAND.RESIZE]);

/**
 * Connects to an export.
 * @throws TypeError for an invalid URI; Error with Node.js' code if there is no connection; RefusedError if the server
 * has no such export
 */
export async function connectNbd(uri: string | NbdUri, options: ClientOptions = {}): Promise<NbdBackend> {
  const parsed = typeof uri === 'string' ? parseUri(uri) : uri;
  const tls = options.tls ?? (parsed.tls ? await tlsOf(parsed) : {});
  return new Client(parsed, tls, options).open();
}

class Client {
  readonly #links: Links;
  #info: ExportInfo | undefined;
  /** The form of replies, for people. */
  #mode: Handshake['mode'] = 'simple';
  /** The size that an unanswered resize may have given to the export. */
  #requestedSize: number | undefined;
  /** The number of requests that changed something, and the number of those that were flushed. */
  #completedChanges = 0;
  #flushedChanges = 0;
  #mayBeLost = false;

  constructor(
    private readonly uri: NbdUri,
    private readonly tls: ClientTls,
    private readonly options: ClientOptions,
  ) {
    const { inFlight = 64, reconnectTimeout = 60, onEvent } = options;
    this.#links = new Links({
      inFlight,
      reconnectTimeout,
      signal: options.signal,
      dial: (signal) => this.#dial(signal),
      onConnected: () => onEvent?.({ event: 'connected' }),
      onLost: (error) => onEvent?.({ event: 'lost', error }),
      onDone: (type) => (this.#completedChanges += CHANGES.has(type) ? 1 : 0),
      onAllLost: () => (this.#mayBeLost ||= this.#completedChanges > this.#flushedChanges),
      onGaveUp: (error) => onEvent?.({ event: 'gave-up', error }),
    });
  }

  async open(): Promise<NbdBackend> {
    const { connections = 4 } = this.options;
    const first = await this.#links.open(({ info: { flags } }) =>
      flags & FLAG.CAN_MULTI_CONN ? Math.max(1, connections) : 1,
    );
    const { info, tls } = first;
    const can = (flag: number): boolean => (info.flags & flag) !== 0;
    const writable = !can(FLAG.READ_ONLY);
    const [size, mayBeLost] = [(): number => this.#size, (): boolean => this.#mayBeLost];
    return {
      info,
      mode: this.#mode,
      tls,
      get size() {
        return size();
      },
      get mayBeLost() {
        return mayBeLost();
      },
      blockSizes: info.sizes,
      read: (into, offset) => this.#read(into, offset),
      ...(can(FLAG.SEND_FLUSH) && { flush: () => this.#flush() }),
      ...(writable && { write: (bytes, offset) => this.#write(bytes, offset) }),
      ...(writable &&
        can(FLAG.SEND_TRIM) && { trim: (offset, length) => this.#change(COMMAND.TRIM, 0, offset, length) }),
      ...(writable &&
        can(FLAG.SEND_WRITE_ZEROES) && {
          zero: async (offset, length, { mayTrim = true, fast = false } = {}) => {
            if (fast && !can(FLAG.SEND_FAST_ZERO))
              throw failure('ENOTSUP', 'the server does not know whether zeros are fast');
            const flags = (mayTrim ? 0 : COMMAND_FLAG.NO_HOLE) | (fast ? COMMAND_FLAG.FAST_ZERO : 0);
            return this.#change(COMMAND.WRITE_ZEROES, flags, offset, length);
          },
        }),
      ...(first.allocation !== undefined && { extents: (offset, length) => this.#extents(offset, length) }),
      ...(can(FLAG.SEND_CACHE) && { prefetch: (offset, length) => this.#prefetch(offset, length) }),
      ...(writable &&
        can(FLAG.SEND_RESIZE) && {
          resize: (size) => this.#resize(size),
        }),
      close: () => this.#links.close(),
    };
  }

  get #size(): number {
    return this.#info?.size ?? 0;
  }

  async #read(into: Uint8Array, offset: number): Promise<void> {
    checkRange({ size: this.#size }, offset, into.length);
    const buffer = Buffer.from(into.buffer, into.byteOffset, into.length);
    await pieceByPiece(offset, into.length, this.#largest(), (at, length) => {
      const piece = buffer.subarray(at - offset, at - offset + length);
      return this.#links.submit({ type: COMMAND.READ, offset: at, length, into: piece });
    });
  }

  async #write(bytes: Uint8Array, offset: number): Promise<void> {
    checkRange({ size: this.#size }, offset, bytes.length);
    await pieceByPiece(offset, bytes.length, this.#largest(), (at, length) => {
      const payload = bytes.subarray(at - offset, at - offset + length);
      return this.#links.submit({ type: COMMAND.WRITE, offset: at, length, payload });
    });
  }

  async #change(type: number, flags: number, offset: number, length: number): Promise<void> {
    checkRange({ size: this.#size }, offset, length);
    await pieceByPiece(offset, length, MAX_LENGTH, (at, part) =>
      this.#links.submit({ type, flags, offset: at, length: part }),
    );
  }

  /** Servers limit the length of this command as they do for reads. */
  async #prefetch(offset: number, length: number): Promise<void> {
    checkRange({ size: this.#size }, offset, length);
    await pieceByPiece(offset, length, this.#largest(), (at, part) =>
      this.#links.submit({ type: COMMAND.CACHE, offset: at, length: part }),
    );
  }

  async #flush(): Promise<void> {
    const completed = this.#completedChanges;
    await this.#links.submit({ type: COMMAND.FLUSH });
    this.#flushedChanges = Math.max(this.#flushedChanges, completed);
    const mayBeLost = this.#mayBeLost;
    this.#mayBeLost = false;
    if (mayBeLost && this.options.strictFlush)
      throw failure('EIO', 'the connection was lost before this flush: the server may have lost what was written');
  }

  async #resize(size: number): Promise<void> {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`a device of ${size} bytes`);
    this.#requestedSize = size;
    await this.#links.submit({ type: COMMAND.RESIZE, offset: size }).finally(() => (this.#requestedSize = undefined));
    if (this.#info) this.#info = { ...this.#info, size };
  }

  /** A server may answer for a shorter range than requested. */
  async #extents(offset: number, length: number): Promise<Extent[]> {
    checkRange({ size: this.#size }, offset, length);
    const all: Extent[] = [];
    for (let at = offset, end = offset + length; at < end;) {
      const part = Math.min(MAX_LENGTH, end - at);
      const extents: Extent[] = [];
      await this.#links.submit({ type: COMMAND.BLOCK_STATUS, offset: at, length: part, extents });
      for (const extent of extents) {
        all.push(extent);
        at = extent.offset + extent.length;
      }
    }
    return mergeExtents(all);
  }

  /** @returns the most bytes of data in one request */
  #largest(): number {
    const { maximum = LARGEST, minimum = 1 } = this.#info?.sizes ?? {};
    const largest = Math.min(maximum, LARGEST);
    return largest - (largest % minimum);
  }

  async #dial(signal: AbortSignal): Promise<Negotiated> {
    const { features, stream } = this.options;
    const handshake = await Handshake.begin(this.uri, this.tls, features, signal, stream);
    const previous = this.#info;
    try {
      const negotiated = await handshake.choose(this.uri.export);
      if (previous) checkSame(previous, negotiated.info, this.#requestedSize);
      this.#info ??= negotiated.info;
      this.#mode = handshake.mode;
      return negotiated;
    } catch (error) {
      if (error instanceof RefusedError) handshake.disconnect();
      else handshake.destroy();
      throw error;
    }
  }
}

/**
 * Starts all pieces at once; the queue limits how many are under way. An error is reported once all pieces are done,
 * because they share one buffer.
 */
async function pieceByPiece(
  offset: number,
  length: number,
  largest: number,
  work: (offset: number, length: number) => Promise<void>,
): Promise<void> {
  if (length <= largest) return length === 0 ? undefined : work(offset, length);
  const results = await Promise.allSettled(Array.from(pieces(offset, length, largest), ([at, part]) => work(at, part)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * @param requestedSize the size that our own pending resize may have set. Somebody else's resize may have made the export
 * larger
 */
function checkSame(previous: ExportInfo, current: ExportInfo, requestedSize: number | undefined): void {
  const mayGrow = (previous.flags & FLAG.SEND_RESIZE) !== 0;
  if (current.size !== previous.size && current.size !== requestedSize && !(mayGrow && current.size > previous.size))
    throw new ChangedError(`the export had ${previous.size} bytes, and has ${current.size} now`);
  const hasFewerContexts = previous.contexts.some((context) => !current.contexts.includes(context));
  const lostFlags =
    (previous.flags & ~current.flags & ~FLAG.READ_ONLY) | (current.flags & ~previous.flags & FLAG.READ_ONLY);
  if (lostFlags !== 0 || hasFewerContexts) throw new ChangedError('the export can do less than before');
  if (current.sizes.minimum > previous.sizes.minimum || current.sizes.maximum < previous.sizes.maximum)
    throw new ChangedError(
      `the export takes requests of ${current.sizes.minimum} to ${current.sizes.maximum} bytes now`,
    );
}
