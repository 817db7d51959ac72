/**
 * The connections of a client. A request goes to the connection with the fewest requests. If that is lost, the request
 * goes to another one, or to the next one that can be made.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '@nodeos/block';
import { ClientConnection, type Job } from './client-connection.js';
import { RefusedError, type Negotiated } from './client-handshake.js';
import { connectionLost } from '../wire/errors.js';
import { ProtocolError } from '../wire/protocol.js';

export interface LinksOptions {
  /** Most unanswered requests on each connection. */
  readonly inFlight: number;
  /** Seconds to keep trying after the server has gone. */
  readonly reconnectTimeout: number;
  /** Once aborted, no more connections are made. */
  readonly signal: AbortSignal | undefined;
  /** Makes a connection to the export. @throws ChangedError if the export has changed */
  readonly dial: (signal: AbortSignal) => Promise<Negotiated>;
  readonly onConnected: () => void;
  readonly onLost: (error: Error) => void;
  /** Called when no connection is left: the server may have been restarted. */
  readonly onAllLost: () => void;
  /** Called when the server has done a command, before any later reply is read. */
  readonly onDone: (type: number) => void;
  readonly onGaveUp: (error: Error) => void;
}

/** The export has changed, so cached contents are invalid. */
export class ChangedError extends Error {
  override readonly name = 'ChangedError';
  readonly code = 'ESTALE';
}

/** Milliseconds before the second attempt to reconnect, and the longest pause. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2000;
/** Seconds for making a connection and choosing the export. */
const HANDSHAKE_SECONDS = 30;
/** Milliseconds before another attempt after an additional connection could not be made. */
const NEW_LINK_PAUSE_MS = 5000;

export class Links {
  readonly #links = new Set<ClientConnection>();
  readonly #queue: Job[] = [];
  readonly #closing = new AbortController();
  /** Links that are being made. */
  #dialing = 0;
  #wanted = 1;
  /** Until this time of `performance.now()`, no additional link is attempted. */
  #noNewLinkUntil = 0;
  /**
   * Time of `performance.now()` since when requests have waited without any answer, whether or not there were
   * connections.
   */
  #outageSince: number | undefined;
  /** Milliseconds before the next attempt to reconnect. It grows until an answer arrives. */
  #pause = 0;
  #failed: Error | undefined;

  /** Aborts attempts to connect. */
  readonly #endSignal: AbortSignal;

  constructor(private readonly options: LinksOptions) {
    const { signal } = this.#closing;
    this.#endSignal = options.signal ? AbortSignal.any([options.signal, signal]) : signal;
  }

  /** Makes the first link. @param wanted the number of links to have, depending on what was negotiated */
  async open(wanted: (first: Negotiated) => number): Promise<Negotiated> {
    const link = await this.#add(HANDSHAKE_SECONDS);
    this.#wanted = wanted(link.negotiated);
    return link.negotiated;
  }

  /** @throws NbdError with the server's error; Error with the code EIO if the server is gone, EBADF after `close` */
  submit(job: { type: number } & Partial<Job>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed);
      if (this.#closing.signal.aborted) return reject(failure('EBADF', 'the device is closed'));
      const callbacks = {
        resolve: () => {
          this.options.onDone(job.type);
          resolve();
          this.#onAnswer();
        },
        reject: (error: Error) => {
          reject(error);
          this.#onAnswer();
        },
      };
      this.#queue.push({ flags: 0, offset: 0, length: 0, extents: [], ...job, ...callbacks });
      this.#dispatch();
    });
  }

  /** Closes the links once all requests are done. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    while (this.#queue.length > 0 || [...this.#links].some(({ inFlight }) => inFlight > 0)) await sleep(1);
    this.#closing.abort(failure('EBADF', 'the device was closed'));
    for (const link of this.#links) link.disconnect();
    this.#links.clear();
  }

  /** Takes the next request after an answer. */
  #onAnswer(): void {
    this.#outageSince = undefined;
    this.#pause = 0;
    this.#dispatch();
  }

  /** Sends queued requests to the link with the fewest requests, as long as it has room. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      let best: ClientConnection | undefined;
      for (const link of this.#links) if (!best || link.inFlight < best.inFlight) best = link;
      if (best && best.inFlight > 0 && this.#links.size + this.#dialing < this.#wanted) this.#addAnother();
      if (!best || best.inFlight >= this.options.inFlight) return;
      const job = this.#queue.shift();
      if (job) best.send(job);
    }
  }

  /** Adds a link once there is enough work for it. */
  #addAnother(): void {
    if (performance.now() < this.#noNewLinkUntil) return;
    this.#dialing++;
    this.#add(HANDSHAKE_SECONDS)
      .catch(() => (this.#noNewLinkUntil = performance.now() + NEW_LINK_PAUSE_MS))
      .finally(() => {
        this.#dialing--;
        if (this.#isAlone()) void this.#reconnect(connectionLost('the connection was lost'));
        else this.#dispatch();
      });
  }

  #isAlone(): boolean {
    return this.#links.size === 0 && this.#dialing === 0 && !this.#closing.signal.aborted && !this.#failed;
  }

  async #add(seconds: number): Promise<ClientConnection> {
    const negotiated = await withTimeout(seconds, this.#endSignal, this.options.dial);
    const link = new ClientConnection(negotiated, (error, unanswered) => this.#onLinkLost(link, error, unanswered));
    if (this.#closing.signal.aborted || this.#failed) link.disconnect();
    else {
      this.#links.add(link);
      this.options.onConnected();
      link.start();
    }
    return link;
  }

  #onLinkLost(link: ClientConnection, error: Error, unanswered: Job[]): void {
    this.#links.delete(link);
    if (this.#closing.signal.aborted) return this.#fail(error, unanswered);
    this.options.onLost(error);
    if (this.#links.size === 0) this.options.onAllLost();
    this.#queue.unshift(...unanswered);
    // A protocol error would happen again.
    if (error instanceof ProtocolError || this.options.reconnectTimeout === 0) return this.#fail(error);
    if (this.#isAlone()) void this.#reconnect(error);
    else this.#dispatch();
  }

  async #reconnect(lossError: Error): Promise<void> {
    const since = (this.#outageSince ??= performance.now());
    this.#dialing++;
    const last = await this.#keepReconnecting(since).catch((error: unknown) => error as Error);
    this.#dialing--;
    this.#noNewLinkUntil = 0; // a failed attempt before the restart says nothing about now
    if (this.#queue.length === 0) this.#outageSince = undefined; // nobody waits
    if (this.#links.size > 0) return this.#dispatch();
    const reason = last ?? lossError;
    if (!this.#closing.signal.aborted) this.options.onGaveUp(reason);
    this.#fail(reason);
  }

  /** @returns undefined once there is a link; otherwise the last error */
  async #keepReconnecting(since: number): Promise<Error | undefined> {
    const { reconnectTimeout } = this.options;
    const remaining = (): number => reconnectTimeout - (performance.now() - since) / 1000;
    let last: Error | undefined;
    while (remaining() > 0) {
      await sleep(Math.min(this.#pause, remaining() * 1000), undefined, { signal: this.#endSignal });
      this.#pause = Math.min(2 * this.#pause || FIRST_PAUSE, LONGEST_PAUSE);
      try {
        await this.#add(Math.max(1, Math.min(HANDSHAKE_SECONDS, remaining())));
        return undefined;
      } catch (error) {
        last = error as Error;
        if (error instanceof ChangedError || (error instanceof RefusedError && !error.isShutdown)) break;
      }
    }
    return last;
  }

  /** Fails for good: no further request is possible. */
  #fail(error: Error, jobs: readonly Job[] = []): void {
    this.#failed ??= failure('EIO', `the NBD server is gone: ${error.message}`, error);
    for (const job of [...jobs, ...this.#queue.splice(0)]) job.reject(this.#failed);
    for (const link of this.#links) link.terminate(error);
  }
}

/** @throws the signal's reason; Error with the code ETIMEDOUT if it takes longer than `seconds` */
async function withTimeout<T>(
  seconds: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const limit = new AbortController();
  const stop = (): void => limit.abort(signal.reason);
  const onTimeout = (): void =>
    limit.abort(failure('ETIMEDOUT', `the server did not answer within ${seconds.toFixed(1)} s`));
  signal.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(onTimeout, seconds * 1000);
  try {
    return await work(limit.signal);
  } catch (error) {
    limit.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
