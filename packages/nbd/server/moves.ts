/**
 * A connection that is served by the event loop, and by a thread while it is busy. It is moved between two requests, when
 * nothing is at work: the thread gets the socket's descriptor and what has arrived, and gives back what it has left of
 * both. The socket stays here and is silent meanwhile, so its end is seen by whoever serves it.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Recipe } from '@nodeos/block';
import type { Return } from './blocking.js';
import { FLOOR } from './budget.js';
import { hasOwnBuffers } from '../wire/inbox.js';
import type { SetTimeouts } from './socket-timeouts.js';
import type { Thread, ThreadLog, Threads } from './threads.js';
import type { Place, Transmission } from './transmission.js';

/** Milliseconds for each of the requests in a row that make a connection a busy one: small ones, done at once. */
const EACH = 10;
/** So many of them, at most, once threads have given the connection back soon, again and again. */
const MOST = 1 << 16;
/** A stay in a thread that was worth the way: so many times the requests before it. */
const WORTH = 4;
/** Milliseconds that a thread waits for its client before it gives the connection back. */
const WAIT = 100;

/** What Node.js has beneath a socket. */
interface Handle {
  readonly fd: number;
  setBlocking(blocking: boolean): number;
}
const handleOf = (socket: Socket): Handle | null => (socket as unknown as { _handle: Handle | null })._handle;

/** The event loop, for a connection that stays there. */
export const LOOP: Place = {
  takes: () => true,
  begun: () => undefined,
  soon: (write) => process.nextTick(write),
};

/** Whether threads can serve this client: what they read and write are the bytes of the socket itself. */
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
  /** Requests that make it a busy connection. */
  #needed: number;
  #count = 0;
  #since = 0;
  #isMoving = false;
  #stays = false;
  #away: { readonly thread: Thread; readonly back: Promise<void> } | undefined;

  constructor(private readonly options: MovesOptions) {
    this.recipe = options.recipe;
    this.#needed = options.threads.busy;
  }

  /** Whose place this is. */
  set transmission(transmission: Transmission) {
    this.#transmission = transmission;
  }

  takes(): boolean {
    return true;
  }

  soon(write: () => void): void {
    process.nextTick(write);
  }

  begun(atOnce: boolean, cost: number): void {
    if (!atOnce || cost > FLOOR) {
      this.#count = 0;
      return;
    }
    if (this.#count++ === 0) this.#since = performance.now();
    if (this.#count < this.#needed) return;
    this.#count = 0;
    if (performance.now() - this.#since < EACH * this.#needed) setImmediate(() => this.#move());
  }

  /** It is not moved from now on. @returns when it is here, if a thread has it */
  stay(): Promise<void> | undefined {
    this.#stays = true;
    this.#away?.thread.recall();
    return this.#away?.back;
  }

  #move(): void {
    const { threads } = this.options;
    if (this.#isMoving || this.#stays || !threads.isFree()) return;
    this.#isMoving = true;
    this.#transmission?.suspend((bytes) => {
      if (!bytes || this.#visit(bytes)) return;
      this.#isMoving = false;
      this.#transmission?.resume(bytes, []);
    });
  }

  /** @returns whether a thread has it */
  #visit(bytes: Buffer): boolean {
    const { socket, threads } = this.options;
    const handle = handleOf(socket);
    if (this.#stays || socket.destroyed || !handle) return false;
    const ready = threads.take();
    if (!ready) return false;
    this.#away = { thread: ready.thread, back: this.#served(handle, ready, bytes) };
    return true;
  }

  async #served(
    handle: Handle,
    { thread, setTimeouts }: { thread: Thread; setTimeouts: SetTimeouts },
    bytes: Buffer,
  ): Promise<void> {
    const { socket, threads, log } = this.options;
    const terms = termsOf(this.#transmission as Transmission);
    socket.pause();
    try {
      setTimeouts(handle.fd, WAIT);
      handle.setBlocking(true);
      const back = await thread.serve({ fd: handle.fd, bytes, terms, recipe: this.recipe() }, log);
      handle.setBlocking(false);
      this.#goOn(back);
    } catch (error) {
      log('export', error);
      socket.destroy();
    } finally {
      threads.give(thread);
    }
  }

  #goOn({ bytes, unsent, served, failed }: Return): void {
    this.#away = undefined;
    this.#isMoving = false;
    this.#stays ||= failed;
    this.#needed = served > WORTH * this.#needed ? this.options.threads.busy : Math.min(2 * this.#needed, MOST);
    this.#transmission?.resume(asBuffer(bytes), unsent.map(asBuffer));
  }
}

/** What can be sent to a thread of what was agreed on. */
const termsOf = ({ agreement }: Transmission): Transmission['agreement'] => {
  const { flags, sizes, structured, extended, contexts } = agreement;
  return { flags, sizes, structured, extended, contexts };
};

const asBuffer = ({ buffer, byteOffset, length }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, length);
