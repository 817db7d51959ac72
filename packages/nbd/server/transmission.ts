/**
 * The server's side of the transmission phase: requests in, replies out, in the order in which they are done.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md#transmission
 *
 * Before a request starts, it takes memory for its data and its reply from the allowance of the connection, and from
 * the budget that all connections share. While there is none left, nothing more is read from the client.
 */
import { isPromise, type BlockBackend, type MaybePromise } from '@nodeos/block';
import { FLOOR, Lease, type Budget } from './budget.js';
import { COMMANDS } from './commands.js';
import type { Terms } from './handshake.js';
import type { Inbox } from '../wire/inbox.js';
import type { Metrics } from './metrics.js';
import { Outbox, type Outlet } from '../wire/outbox.js';
import type { Pool } from '../wire/pool.js';
import {
  COMMAND,
  COMMAND_FLAG,
  decodeRequest,
  EXTENDED_REQUEST_SIZE,
  FLAG,
  MAX_EXTENTS,
  ProtocolError,
  REQUEST_SIZE,
  type ReceivedRequest,
} from '../wire/protocol.js';
import { NbdError } from '../wire/reply-errors.js';
import { Replies } from './replies.js';

/** Cost of a request in addition to its data, in bytes, so that thousands of flushes are not free. */
const OVERHEAD = 1024;
/** Bytes. A refused payload up to this size is skipped; a larger one ends the connection. */
const MAX_SKIPPED = 64 << 20;
/** Largest payload that is not data, in bytes. */
const MAX_SMALL = 4096;
/** Largest descriptor of an extent in a reply, in bytes. */
const EXTENT = 16;
/**
 * The reply to one block status request may use a quarter of the allowance, because the backend has its own list too.
 */
const SHARE = 4;

/** Where the replies go. Its `close` event is the end of the connection. */
export interface Line extends Outlet {
  readonly destroyed: boolean;
  on(event: 'close', callback: () => void): unknown;
  destroy(): unknown;
  /** Bytes that were written but have not left the process. */
  unsent(): number;
}

/** Where requests run: on the event loop, or in a thread of the connection's own. */
export interface Place {
  /**
   * Whether this place serves the request. If not, it waits, and so do all later ones. Undefined: the header is
   * invalid.
   */
  accepts(request: ReceivedRequest | undefined, cost: number): boolean;
  /** Reports that a request has begun. `isSynchronous` is false if it returned a promise. */
  onStarted(isSynchronous: boolean, cost: number): void;
  /** Arranges for `write` to be called once this turn's replies are ready. */
  schedule(write: () => void): void;
}

export interface TransmissionOptions {
  readonly inbox: Inbox;
  readonly line: Line;
  readonly place: Place;
  readonly pool: Pool;
  readonly metrics: Pick<Metrics, 'count'>;
  /** Bytes of requests under way and replies not yet sent. A single request may exceed it. */
  readonly allowance: number;
  readonly budget: Budget;
  /** Restricts the backend to this place from now on; waits until no other uses it. */
  makeExclusive(): MaybePromise<void>;
  log(event: 'protocol' | 'request', error: unknown): void;
}

export class Transmission {
  readonly replies: Replies;
  /** Resolves when the client has left or must leave, and all requests that were begun are done. */
  readonly done: Promise<void>;
  /** The most extents in one reply. */
  readonly maxExtents: number;
  readonly #header: Buffer;
  readonly #outbox: Outbox;
  readonly #lease: Lease;
  /**
   * Bytes of requests under way, and of requests whose data is arriving. Finished replies are counted by the outbox.
   */
  #cost = 0;
  /** The request whose data is arriving: its buffer and its cost. */
  #receiving: { readonly buffer: Buffer; readonly cost: number } | undefined;
  #running = 0;
  #waiting: { readonly cost: number; readonly start: () => void } | undefined;
  /** Whether the next bytes to read are the header of a request. */
  #isBetweenRequests = false;
  /** A header of a request that another place must serve. */
  #returned: Buffer | undefined;
  /** Called once nothing is under way, with the bytes that have arrived. */
  #onQuiet: ((bytes: Buffer | undefined) => void) | undefined;
  #isAway = false;
  #isEnding = false;
  #isStopping = false;
  #finish: () => void = () => undefined;

  constructor(
    readonly agreement: Terms,
    /** The client's view of the backend. */
    readonly backend: BlockBackend,
    private readonly options: TransmissionOptions,
  ) {
    const { line, place, pool, budget, allowance } = options;
    this.maxExtents = Math.min(MAX_EXTENTS, Math.max(1, Math.floor(allowance / SHARE / EXTENT)));
    this.#lease = new Lease(budget, {
      position: () => this.#position(),
      resume: () => this.#resumeWaiting(),
      disconnect: () =>
        this.#break(new ProtocolError('a client that takes and sends nothing while others wait for memory')),
    });
    this.#header = Buffer.alloc(agreement.extended ? EXTENDED_REQUEST_SIZE : REQUEST_SIZE);
    this.#outbox = new Outbox(
      line,
      pool,
      () => this.#sent(),
      (write) => place.schedule(write),
    );
    this.replies = new Replies(this.#outbox, agreement);
    this.done = new Promise((resolve) => (this.#finish = resolve));
    line.on('close', () => this.#stop());
    this.#next();
    options.inbox.onEnd(() => this.#stop());
  }

  /** Bytes of requests and replies in memory that count against the allowance. */
  get held(): number {
    return this.#cost + this.#outbox.held;
  }

  get isDisconnected(): boolean {
    return this.options.line.destroyed;
  }

  /** Answers all further requests with ESHUTDOWN. @returns when the requests under way are answered */
  async end(): Promise<void> {
    this.#isEnding = true;
    if (this.#running === 0 && !this.#isAway) this.#stop();
    await this.done;
  }

  makeExclusive(): MaybePromise<void> {
    return this.options.makeExclusive();
  }

  /** Sends the finished replies at once. */
  flush(): void {
    this.#outbox.flush();
  }

  /**
   * Begins no more requests. Calls back once all that were begun are answered, with the bytes that arrived after them,
   * or with undefined if the client has left. From then on nothing is read or written here until `resume`.
   * @param shouldWithdraw whether no more bytes arrive meanwhile: a request whose data is incomplete then is part of these
   * bytes
   */
  suspend(callback: (bytes: Buffer | undefined) => void, shouldWithdraw = false): void {
    if (this.#isStopping) return callback(undefined);
    this.#onQuiet = callback;
    if (shouldWithdraw) this.#withdraw();
    if (this.#isBetweenRequests) this.options.inbox.pause();
    this.#suspendIfQuiet();
  }

  /** Continues with the bytes that have arrived, and sends the replies that are left. */
  resume(bytes: Buffer, unsent: readonly Buffer[]): void {
    this.#isAway = false;
    for (const part of unsent) this.#outbox.sendBytes(part);
    this.options.inbox.unshift(bytes);
    this.options.inbox.resume();
    if (this.#isEnding && this.#running === 0) this.#stop();
    else this.#next();
  }

  /** Takes back the request whose data is arriving, because it has not begun. */
  #withdraw(): void {
    if (!this.#receiving) return;
    const { buffer, cost } = this.#receiving;
    this.#returned = Buffer.concat([this.#header, this.options.inbox.reclaim()]);
    this.options.pool.release(buffer);
    this.#cost -= cost;
    this.#receiving = undefined;
    this.#isBetweenRequests = true;
  }

  #sent(): void {
    this.#resumeWaiting();
    this.#suspendIfQuiet();
  }

  #suspendIfQuiet(): void {
    const callback = this.#onQuiet;
    if (!callback || !this.#isBetweenRequests || this.held > 0) return;
    this.#onQuiet = undefined;
    this.#isAway = true;
    const unread = this.options.inbox.reclaim();
    callback(this.#returned ? Buffer.concat([this.#returned, unread]) : unread);
    this.#returned = undefined;
  }

  /** Releases the memory once the connection is closed. */
  endLease(): void {
    this.#lease.end();
  }

  #next(): void {
    if (this.#isStopping) return;
    this.#isBetweenRequests = true;
    if (this.#onQuiet) this.options.inbox.pause();
    else this.options.inbox.next(this.#header, this.#onHeader);
  }

  readonly #onHeader = (): void => {
    const { inbox } = this.options;
    const request = decodeRequest(this.#header, this.agreement.extended);
    const payload = request ? payloadOf(request, this.agreement.extended) : 0;
    if (!this.options.place.accepts(request, request ? this.#costOf(request, payload) : 0)) return this.#returnHeader();
    this.#isBetweenRequests = false;
    if (!request) return this.#break(new ProtocolError('a request without its magic number'));
    if (request.type === COMMAND.DISC) return this.#stop();
    if (payload > Math.max(MAX_SKIPPED, this.agreement.sizes.maximum))
      return this.#break(new ProtocolError(`a request with ${payload} bytes of data`));
    const problem = this.#problemOf(request, payload);
    // Refusals wait too: otherwise a client that sends invalid requests and reads no replies would fill the memory.
    const cost = problem ? OVERHEAD : this.#costOf(request, payload);
    const start = (): void => {
      if (!problem) this.#receive(payload, cost, (data) => this.#run(request, cost, data, payload));
      else if (payload > FLOOR)
        inbox.skip(payload, () => {
          this.#refuse(request, problem);
          this.#next();
        });
      else
        this.#receive(payload, cost, (data) => {
          this.#free(cost, data);
          this.#refuse(request, problem);
        });
    };
    if (this.#admits(cost)) return start();
    inbox.pause();
    this.#waiting = { cost, start };
  };

  #returnHeader(): void {
    this.#returned = Buffer.from(this.#header);
    this.options.inbox.pause();
  }

  /** Bytes of memory that a request takes while it is under way. */
  #costOf({ type, length }: ReceivedRequest, payload: number): number {
    if (type === COMMAND.READ) return OVERHEAD + length;
    if (type !== COMMAND.BLOCK_STATUS) return OVERHEAD + payload;
    // The length is in the payload, and is not known yet.
    return OVERHEAD + EXTENT * (payload > 0 ? this.maxExtents : Math.min(this.maxExtents, length));
  }

  /** A request larger than the allowance is admitted once it would have all of it. */
  #admits(cost: number): boolean {
    const held = this.held;
    return (held === 0 || held + cost <= this.options.allowance) && this.#lease.covers(held + cost);
  }

  #resumeWaiting(): void {
    if (this.#waiting && this.#admits(this.#waiting.cost)) {
      const { start } = this.#waiting;
      this.#waiting = undefined;
      this.options.inbox.resume();
      start();
    }
    this.#lease.shrink(this.held);
  }

  #receive(payload: number, cost: number, callback: (data?: Buffer) => void): void {
    const { inbox, pool } = this.options;
    this.#cost += cost;
    if (payload === 0) {
      callback();
      return this.#next();
    }
    const buffer = pool.acquire(payload);
    this.#receiving = { buffer, cost };
    inbox.next(buffer.subarray(0, payload), () => {
      this.#receiving = undefined;
      callback(buffer);
      this.#next();
    });
  }

  #free(cost: number, data: Buffer | undefined): void {
    this.#cost -= cost;
    if (data) this.options.pool.release(data);
  }

  #run(request: ReceivedRequest, cost: number, buffer?: Buffer, payload = 0): void {
    const started = performance.now();
    const done = (error?: unknown): void => {
      this.#running--;
      this.#free(cost, buffer);
      this.#finished(request, started, error);
    };
    this.#running++;
    let result: MaybePromise<void>;
    try {
      result = COMMANDS[request.type]?.run({ request, payload: buffer?.subarray(0, payload), server: this });
    } catch (error) {
      return done(error);
    }
    this.options.place.onStarted(!isPromise(result), cost);
    if (isPromise(result)) result.then(() => done(), done);
    else done();
  }

  #finished(request: ReceivedRequest, started: number, error: unknown): void {
    const failed = error !== undefined;
    if (failed) {
      this.replies.error(request, error);
      if (!(error instanceof NbdError)) this.options.log('request', error);
    }
    this.options.metrics.count(request.type, request.length, (performance.now() - started) / 1000, failed);
    this.#sent();
    if (this.#running === 0 && (this.#isStopping || this.#isEnding)) this.#stop();
  }

  #refuse(request: ReceivedRequest, problem: NbdError): void {
    this.options.metrics.count(request.type, 0, 0, true);
    this.replies.error(request, problem);
  }

  /** The reason to refuse a request, whatever the backend. */
  #problemOf({ type, flags, offset, length }: ReceivedRequest, payload: number): NbdError | undefined {
    const command = COMMANDS[type];
    const { flags: exportFlags, sizes, extended } = this.agreement;
    const invalid = (message: string): NbdError => new NbdError('EINVAL', message);
    if (this.#isEnding) return new NbdError('ESHUTDOWN', 'this server is being shut down');
    if (command?.writes && exportFlags & FLAG.READ_ONLY) return new NbdError('EPERM', 'the export is read-only');
    if (!command || (exportFlags & command.needs) !== command.needs) return invalid(`command ${type} is not supported`);
    const allowed =
      command.flags | (extended ? command.extendedFlags : 0) | (exportFlags & FLAG.SEND_FUA ? COMMAND_FLAG.FUA : 0);
    if (flags & ~allowed || (flags & COMMAND_FLAG.DF && !(exportFlags & FLAG.SEND_DF)))
      return invalid(`flags 0x${flags.toString(16)} with command ${type}`);
    // The payload holds the length of the range.
    if (payload > 0 && type !== COMMAND.WRITE)
      return payload > MAX_SMALL ? invalid(`${payload} bytes of data`) : undefined;
    if (command.empty && (offset !== 0 || length !== 0)) return invalid('offset and length must be 0');
    if (!command.ranged) return undefined;
    if (offset + length > this.backend.size)
      return new NbdError(command.rangeError, `${length} bytes at ${offset} are beyond ${this.backend.size} bytes`);
    if (command.bounded && length > sizes.maximum) return invalid(`${length} bytes; ${sizes.maximum} are the most`);
    if (offset % sizes.minimum || length % sizes.minimum) return invalid(`not multiples of ${sizes.minimum} bytes`);
    return undefined;
  }

  #position(): string | undefined {
    const { line, inbox } = this.options;
    if (this.#outbox.held === 0 && !this.#receiving) return undefined;
    return `${line.unsent()} to be taken, ${inbox.filled} arrived`;
  }

  #break(error: Error): void {
    this.options.log('protocol', error);
    this.options.line.destroy();
    this.#stop();
  }

  #stop(): void {
    this.#isStopping = true;
    this.#waiting = undefined;
    this.#lease.leaveQueue();
    this.options.inbox.discard();
    this.#onQuiet?.(undefined);
    this.#onQuiet = undefined;
    if (this.#running === 0) this.#finish();
  }
}

/**
 * Bytes that follow the header of the request. With extended headers, commands other than WRITE mark a payload by a
 * flag.
 */
function payloadOf({ type, flags, length }: ReceivedRequest, extended: boolean): number {
  return type === COMMAND.WRITE || (extended && flags & COMMAND_FLAG.PAYLOAD_LEN) ? length : 0;
}
