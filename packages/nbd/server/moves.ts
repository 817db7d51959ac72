/**
 * A connection that the event loop serves, or a thread while it is busy. It moves between two requests, when none is
 * under way. The thread gets the socket's descriptor and the bytes that have arrived, and gives back what is left of
 * both. The socket object stays here and is paused meanwhile, so whoever serves the connection sees its end.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Recipe } from '@nodeos/block';
import type { ThreadResult } from './blocking.js';
import { FLOOR } from './budget.js';
import { hasOwnBuffers } from '../wire/inbox.js';
import type { SocketCalls } from './socket-calls.js';
import type { Thread, ThreadLog, Threads } from './threads.js';
import type { Place, Transmission } from './transmission.js';

/**
 * Milliseconds per request: a connection is busy if its small synchronous requests in a row come at least this fast.
 */
const MS_PER_REQUEST = 10;
/** Largest number of requests in a row to require, after threads have repeatedly given the connection back early. */
const MAX_NEEDED = 1 << 16;
/** A stay in a thread was worthwhile if it served this many times the requests required before it. */
const WORTHWHILE = 4;
/** Milliseconds that a thread waits for its client before it gives the connection back. */
const WAIT_MS = 100;

/** The part of Node.js' internal socket handle that is used here. */
interface Handle {
  readonly fd: number;
  setBlocking(blocking: boolean): number;
}
const handleOf = (socket: Socket): Handle | null => (socket as unknown as { _handle: Handle | null })._handle;

/** The place of a connection that stays on the event loop. */
export const LOOP: Place = {
  accepts: () => true,
  onStarted: () => undefined,
  schedule: (write) => process.nextTick(write),
};

/** Whether threads can serve this client: the bytes that they read and write must be those of the socket itself. */
export const canMove = (socket: Duplex): socket is Socket => socket instanceof Socket && hasOwnBuffers(socket);

export interface MovesOptions {
  readonly socket: Socket;
  /** How threads open the device. */
  readonly recipe: () => Recipe;
  readonly threads: Threads;
  readonly log: ThreadLog;
}

export class Moves implements Place {
  readonly recipe: () => Recipe;
  #transmission: Transmission | undefined;
  /** Requests in a row that make the connection busy. */
  #needed: number;
  #count = 0;
  #since = 0;
  #isMoving = false;
  #isPinned = false;
  #inThread: { readonly thread: Thread; readonly result: Promise<void> } | undefined;

  constructor(private readonly options: MovesOptions) {
    this.recipe = options.recipe;
    this.#needed = options.threads.busy;
  }

  /** The transmission of the connection; must be set before requests begin. */
  set transmission(transmission: Transmission) {
    this.#transmission = transmission;
  }

  accepts(): boolean {
    return true;
  }

  schedule(write: () => void): void {
    process.nextTick(write);
  }

  onStarted(isSynchronous: boolean, cost: number): void {
    if (!isSynchronous || cost > FLOOR) {
      this.#count = 0;
      return;
    }
    if (this.#count++ === 0) this.#since = performance.now();
    if (this.#count < this.#needed) return;
    this.#count = 0;
    if (performance.now() - this.#since < MS_PER_REQUEST * this.#needed) setImmediate(() => this.#move());
  }

  /** Keeps the connection here from now on. @returns a promise if a thread still has it, undefined otherwise */
  pin(): Promise<void> | undefined {
    this.#isPinned = true;
    this.#inThread?.thread.recall();
    return this.#inThread?.result;
  }

  #move(): void {
    const { threads } = this.options;
    if (this.#isMoving || this.#isPinned || !threads.isFree()) return;
    this.#isMoving = true;
    this.#transmission?.suspend((bytes) => {
      if (!bytes || this.#moveToThread(bytes)) return;
      this.#isMoving = false;
      this.#transmission?.resume(bytes, []);
    });
  }

  /** @returns whether a thread has taken the connection */
  #moveToThread(bytes: Buffer): boolean {
    const { socket, threads } = this.options;
    const handle = handleOf(socket);
    if (this.#isPinned || socket.destroyed || !handle) return false;
    const ready = threads.acquire();
    if (!ready) return false;
    this.#inThread = { thread: ready.thread, result: this.#serveInThread(handle, ready, bytes) };
    return true;
  }

  async #serveInThread(
    handle: Handle,
    { thread, calls }: { thread: Thread; calls: SocketCalls },
    bytes: Buffer,
  ): Promise<void> {
    const { socket, threads, log } = this.options;
    const terms = termsOf(this.#transmission as Transmission);
    socket.pause();
    try {
      calls.setTimeouts(handle.fd, WAIT_MS);
      handle.setBlocking(true);
      const result = await thread.serve({ fd: handle.fd, bytes, terms, recipe: this.recipe() }, log);
      handle.setBlocking(false);
      this.#resumeHere(result);
    } catch (error) {
      log('export', error);
      socket.destroy();
    } finally {
      threads.release(thread);
    }
  }

  #resumeHere({ bytes, unsent, served, failed }: ThreadResult): void {
    this.#inThread = undefined;
    this.#isMoving = false;
    this.#isPinned ||= failed;
    this.#needed =
      served > WORTHWHILE * this.#needed ? this.options.threads.busy : Math.min(2 * this.#needed, MAX_NEEDED);
    this.#transmission?.resume(asBuffer(bytes), unsent.map(asBuffer));
  }
}

/** The part of the agreement that can be sent to a thread. */
const termsOf = ({ agreement }: Transmission): Transmission['agreement'] => {
  const { flags, sizes, structured, extended, contexts } = agreement;
  return { flags, sizes, structured, extended, contexts };
};

const asBuffer = ({ buffer, byteOffset, length }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, length);
