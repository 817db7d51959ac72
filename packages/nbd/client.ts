/**
 * An export of an NBD server as a block backend: several connections, requests in parallel, and a reconnection that
 * sends again what has no answer.
 *
 * A server that crashes may lose what it acknowledged and did not flush, as a disk does; `flush` waits for the server's
 * own.
 */
import { setMaxListeners } from 'node:events';
import { checkRange, failure, joined, pieces, type BlockBackend, type Extent } from '@nodeos/block';
import { ClientConnection, type Job } from './client-connection.js';
import { Handshake, RefusedError, type ExportInfo, type Wishes } from './client-handshake.js';
import { COMMAND, COMMAND_FLAG, FLAG, ProtocolError } from './protocol.js';
import { parseUri, tlsOf, type NbdUri } from './uri.js';
import type { ClientTls } from './tls.js';

export interface ClientOptions {
  /** More than one only if the server says that its connections see the same (CAN_MULTI_CONN). Default 4. */
  readonly connections?: number;
  /** Requests without an answer, on each connection. Default 64. */
  readonly inFlight?: number;
  /** Seconds to go on trying when the server is gone; 0: not at all. Default 60. */
  readonly patience?: number;
  /** Instead of what the URI says. */
  readonly tls?: ClientTls;
  readonly wishes?: Wishes;
  /** Ends the opening; what is open is ended by `close`. */
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
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds before the first try to connect again, and at most. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2000;
/** Bytes of one request at most, whatever the server takes. */
const LARGEST = 8 << 20;
/** Of a request without data. */
const MAX_LENGTH = 0x40000000;

/**
 * @throws TypeError for a URI that is not one; Error with Node.js' code if there is no connection; RefusedError if the
 * server has no such export
 */
export async function connectNbd(uri: string | NbdUri, options: ClientOptions = {}): Promise<NbdBackend> {
  const parsed = typeof uri === 'string' ? parseUri(uri) : uri;
  const tls = options.tls ?? (parsed.tls ? await tlsOf(parsed) : {});
  const { signal, ...others } = options;
  const opening = new AbortController();
  setMaxListeners(0, opening.signal); // one for each connection
  const stop = (): void => opening.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', stop, { once: true });
  const client = new Client(parsed, tls, { ...others, signal: opening.signal });
  return client.open().finally(() => signal?.removeEventListener('abort', stop));
}

class Client {
  readonly #links = new Set<ClientConnection>();
  readonly #queue: Job[] = [];
  readonly #inFlight: number;
  readonly #patience: number;
  #info: ExportInfo | undefined;
  /** Links that are being made. */
  #dialing = 0;
  #wanted = 1;
  #closed = false;
  #failed: Error | undefined;

  constructor(
    private readonly uri: NbdUri,
    private readonly tls: ClientTls,
    private readonly options: ClientOptions,
  ) {
    this.#inFlight = options.inFlight ?? 64;
    this.#patience = options.patience ?? 60;
  }

  async open(): Promise<NbdBackend> {
    const handshake = await this.#dial();
    const mode = handshake.mode;
    const first = await this.#choose(handshake);
    const { info, tls } = first.negotiated;
    this.#info = info;
    const can = (flag: number): boolean => (info.flags & flag) !== 0;
    if (can(FLAG.CAN_MULTI_CONN)) this.#wanted = Math.max(1, this.options.connections ?? 4);
    const writable = !can(FLAG.READ_ONLY);
    const state = { size: info.size };
    return {
      info,
      mode,
      tls,
      get size() {
        return state.size;
      },
      blockSizes: info.sizes,
      read: (into, offset) => this.#read(into, offset),
      flush: () => (can(FLAG.SEND_FLUSH) ? this.#do({ type: COMMAND.FLUSH }) : Promise.resolve()),
      ...(writable && { write: (bytes, offset) => this.#write(bytes, offset) }),
      ...(writable &&
        can(FLAG.SEND_TRIM) && { trim: (offset, length) => this.#ranged(COMMAND.TRIM, 0, offset, length) }),
      ...(writable &&
        can(FLAG.SEND_WRITE_ZEROES) && {
          zero: async (offset, length, { mayTrim = true, fast = false } = {}) => {
            if (fast && !can(FLAG.SEND_FAST_ZERO))
              throw failure('ENOTSUP', 'the server does not know whether zeros are fast');
            const flags = (mayTrim ? 0 : COMMAND_FLAG.NO_HOLE) | (fast ? COMMAND_FLAG.FAST_ZERO : 0);
            return this.#ranged(COMMAND.WRITE_ZEROES, flags, offset, length);
          },
        }),
      ...(first.negotiated.allocation !== undefined && { extents: (offset, length) => this.#extents(offset, length) }),
      ...(can(FLAG.SEND_CACHE) && { prefetch: (offset, length) => this.#ranged(COMMAND.CACHE, 0, offset, length) }),
      ...(writable &&
        can(FLAG.SEND_RESIZE) && {
          resize: async (size) => {
            if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`a device of ${size} bytes`);
            await this.#do({ type: COMMAND.RESIZE, offset: size });
            state.size = size;
            this.#info = { ...info, size };
          },
        }),
      close: () => this.#close(),
    };
  }

  get #size(): number {
    return this.#info?.size ?? 0;
  }

  async #read(into: Uint8Array, offset: number): Promise<void> {
    checkRange({ size: this.#size }, offset, into.length);
    const buffer = Buffer.from(into.buffer, into.byteOffset, into.length);
    await this.#pieces(offset, into.length, this.#largest(), (at, length) => {
      const piece = buffer.subarray(at - offset, at - offset + length);
      return this.#do({ type: COMMAND.READ, offset: at, length, into: piece });
    });
  }

  async #write(bytes: Uint8Array, offset: number): Promise<void> {
    checkRange({ size: this.#size }, offset, bytes.length);
    await this.#pieces(offset, bytes.length, this.#largest(), (at, length) => {
      const payload = bytes.subarray(at - offset, at - offset + length);
      return this.#do({ type: COMMAND.WRITE, offset: at, length, payload });
    });
  }

  async #ranged(type: number, flags: number, offset: number, length: number): Promise<void> {
    checkRange({ size: this.#size }, offset, length);
    await this.#pieces(offset, length, MAX_LENGTH, (at, part) => this.#do({ type, flags, offset: at, length: part }));
  }

  /** A server may answer for less than it was asked. */
  async #extents(offset: number, length: number): Promise<Extent[]> {
    checkRange({ size: this.#size }, offset, length);
    const all: Extent[] = [];
    for (let at = offset, end = offset + length; at < end;) {
      const part = Math.min(MAX_LENGTH, end - at);
      const extents: Extent[] = [];
      await this.#do({ type: COMMAND.BLOCK_STATUS, offset: at, length: part, extents });
      for (const extent of extents) {
        all.push(extent);
        at = extent.offset + extent.length;
      }
    }
    return joined(all);
  }

  /** @returns bytes of data in one request */
  #largest(): number {
    const { maximum = LARGEST, minimum = 1 } = this.#info?.sizes ?? {};
    const most = Math.min(maximum, LARGEST);
    return most - (most % minimum);
  }

  /** All at once: the queue bounds how many are under way. */
  async #pieces(
    offset: number,
    length: number,
    most: number,
    work: (offset: number, length: number) => Promise<void>,
  ): Promise<void> {
    if (length <= most) return length === 0 ? undefined : work(offset, length);
    await Promise.all(Array.from(pieces(offset, length, most), ([at, part]) => work(at, part)));
  }

  #do(job: { type: number } & Partial<Job>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed);
      if (this.#closed) return reject(failure('EBADF', 'the device is closed'));
      // An answer makes room for another request.
      const whenDone =
        <T extends unknown[]>(tell: (...values: T) => void) =>
        (...values: T): void => {
          tell(...values);
          this.#dispatch();
        };
      const told = { resolve: whenDone(resolve), reject: whenDone(reject) };
      this.#queue.push({ flags: 0, offset: 0, length: 0, extents: [], ...job, ...told });
      this.#dispatch();
    });
  }

  /** To the link with the least to do, as long as one has room. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      let best: ClientConnection | undefined;
      for (const link of this.#links) if (!best || link.inFlight < best.inFlight) best = link;
      if (best && best.inFlight > 0 && this.#links.size + this.#dialing < this.#wanted) this.#addLink();
      if (!best || best.inFlight >= this.#inFlight) return;
      const job = this.#queue.shift();
      if (job) best.send(job);
    }
  }

  /** Another link, when there is enough to do for it. */
  #addLink(): void {
    this.#dialing++;
    this.#dial()
      .then((handshake) => this.#choose(handshake))
      .catch(() => (this.#wanted = Math.max(1, this.#links.size))) // one less will do
      .finally(() => {
        this.#dialing--;
        const alone = this.#links.size === 0 && this.#dialing === 0;
        if (alone && !this.#closed && !this.#failed) void this.#reconnect(new Error('the connection was lost'));
        else this.#dispatch();
      });
  }

  #dial(): Promise<Handshake> {
    return Handshake.begin(this.uri, this.tls, this.options.wishes, this.options.signal);
  }

  async #choose(handshake: Handshake): Promise<ClientConnection> {
    const negotiated = await handshake.choose(this.uri.export).catch((error: unknown) => {
      handshake.abandon();
      throw error;
    });
    if (this.#info) checkSame(this.#info, negotiated.info);
    const link = new ClientConnection(negotiated, (error, unanswered) => this.#lost(link, error, unanswered));
    if (this.#closed || this.#failed) {
      link.leave();
      return link;
    }
    this.#links.add(link);
    this.options.onEvent?.({ event: 'connected' });
    return link;
  }

  #lost(link: ClientConnection, error: Error, unanswered: Job[]): void {
    this.#links.delete(link);
    if (this.#closed) return this.#fail(error);
    this.options.onEvent?.({ event: 'lost', error });
    this.#queue.unshift(...unanswered);
    // What breaks the protocol will break it again.
    if (error instanceof ProtocolError || this.#patience === 0) return this.#fail(error, unanswered);
    if (this.#links.size === 0 && this.#dialing === 0) void this.#reconnect(error);
    else this.#dispatch();
  }

  async #reconnect(lost: Error): Promise<void> {
    const deadline = performance.now() + this.#patience * 1000;
    this.#dialing++;
    let last = lost;
    for (
      let pause = FIRST_PAUSE;
      !this.#closed && performance.now() < deadline;
      pause = Math.min(2 * pause, LONGEST_PAUSE)
    ) {
      try {
        await this.#choose(await this.#dial());
        this.#dialing--;
        return this.#dispatch();
      } catch (error) {
        last = error as Error;
        if (error instanceof RefusedError || error instanceof ChangedError) break;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
    this.#dialing--;
    this.options.onEvent?.({ event: 'gave-up', error: last });
    this.#fail(last);
  }

  /** For good: nothing more can be asked. */
  #fail(error: Error, jobs: readonly Job[] = []): void {
    this.#failed ??= failure('EIO', `the NBD server is gone: ${error.message}`, error);
    for (const job of new Set([...jobs, ...this.#queue.splice(0)])) job.reject(this.#failed);
    for (const link of this.#links) link.abandon(error);
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    while (this.#queue.length > 0 || [...this.#links].some(({ inFlight }) => inFlight > 0))
      await new Promise((resolve) => setTimeout(resolve, 1));
    this.#closed = true;
    for (const link of this.#links) link.leave();
    this.#links.clear();
  }
}

/** The export is not what it was: what is in memory of it is worth nothing. */
class ChangedError extends Error {}

function checkSame(before: ExportInfo, now: ExportInfo): void {
  if (before.size !== now.size) throw new ChangedError(`the export had ${before.size} bytes, and has ${now.size} now`);
  if (before.flags & ~now.flags) throw new ChangedError('the export can do less than before');
}
