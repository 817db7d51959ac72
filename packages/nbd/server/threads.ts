/**
 * Threads for busy connections. A thread has one connection at a time, which it serves with blocking calls (blocking.ts)
 * and gives back when that is not the way for it any more. They are started when they are wanted, and end when they have
 * been idle for a while.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { recipeOf, type BlockBackend } from '@nodeos/block';
import type { Return } from './blocking.js';
import { Counts, type Metrics } from './metrics.js';
import { loadSetTimeouts, type SetTimeouts } from './socket-timeouts.js';
import type { ThreadData, Visit, Word } from './worker.js';

/** MiB of a thread's new objects: those of requests, which are soon over. */
const YOUNG = 2;
/** Milliseconds that an idle thread is kept. */
const KEPT = 10_000;

export type ThreadLog = (event: 'protocol' | 'request' | 'export', error: unknown) => void;

/** Requests. */
export const BUSY = 256;

interface Stay {
  readonly resolve: (back: Return) => void;
  readonly reject: (error: Error) => void;
  readonly log: ThreadLog;
}

export class Thread {
  readonly counts = new Counts();
  readonly #worker: Worker;
  readonly #recalled = new Int32Array(new SharedArrayBuffer(4));
  #stay: Stay | undefined;

  /** @throws Error if it cannot be started, as where the package is not installed as such */
  constructor({ onReady, onEnd }: { onReady: () => void; onEnd: () => void }) {
    const workerData: ThreadData = { recalled: this.#recalled, cells: this.counts.cells };
    // By the package's own name: the compiled module, whatever this one was loaded from.
    this.#worker = new Worker(createRequire(import.meta.url).resolve('@nodeos/nbd/worker'), {
      workerData,
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG },
    });
    let failed = new Error('the thread of the connection has ended');
    this.#worker
      .on('message', (word: Word) => (word.kind === 'ready' ? onReady() : this.#hear(word)))
      .on('error', (error: Error) => (failed = error))
      .on('exit', () => {
        onEnd();
        this.#stay?.reject(failed);
      });
    // After the listeners, which would keep the process alive again.
    this.#worker.unref();
  }

  /** @throws Error if the thread ends meanwhile */
  async serve(visit: Visit, log: ThreadLog): Promise<Return> {
    Atomics.store(this.#recalled, 0, 0);
    try {
      return await new Promise<Return>((resolve, reject) => {
        this.#stay = { resolve, reject, log };
        this.#worker.postMessage(visit);
      });
    } finally {
      this.#stay = undefined;
    }
  }

  /** Asks for the connection. */
  recall(): void {
    Atomics.store(this.#recalled, 0, 1);
  }

  async end(): Promise<void> {
    this.recall();
    await this.#worker.terminate();
  }

  #hear(word: Exclude<Word, { kind: 'ready' }>): void {
    if (word.kind === 'back') this.#stay?.resolve(word.back);
    else this.#stay?.log(word.event, Object.assign(new Error(word.message), word.code && { code: word.code }));
  }
}

/** A connection that may be moved to a thread. */
export interface Guest {
  /** Opens its device elsewhere; the same function for all connections to a device. */
  readonly recipe: object;
  /** From now on it is served by the event loop. @returns when it is, unless that is now */
  stay(): Promise<void> | undefined;
}

export class Threads {
  readonly #all = new Set<Thread>();
  /** With what ends them after a while. */
  readonly #free = new Map<Thread, NodeJS.Timeout>();
  readonly #guests = new Set<Guest>();
  /** The recipes of devices that are used here only. */
  readonly #alone = new WeakSet<object>();
  #setTimeouts: SetTimeouts | undefined;
  #isStarting = false;

  /**
   * @param limit threads at once
   * @param busy requests in a row that make a connection a busy one
   */
  constructor(
    private limit: number,
    readonly busy: number,
    private readonly metrics: Metrics,
  ) {}

  /** A connection that may be moved. */
  enter(guest: Guest): void {
    this.#guests.add(guest);
    if (this.#alone.has(guest.recipe)) void guest.stay();
  }

  leave(guest: Guest): void {
    this.#guests.delete(guest);
  }

  /** From now on the device is used here only. @returns when it is */
  async alone(backend: BlockBackend): Promise<void> {
    const recipe = recipeOf(backend);
    if (!recipe) return;
    this.#alone.add(recipe);
    await Promise.all([...this.#guests].filter((guest) => guest.recipe === recipe).map(async (guest) => guest.stay()));
  }

  /** Whether there is a thread for a connection. If there may be one more, it is started, for later. */
  isFree(): boolean {
    if (this.#free.size > 0) return true;
    if (this.#all.size < this.limit && !this.#isStarting) void this.#start();
    return false;
  }

  /** @returns a thread, which is to be given back */
  take(): { thread: Thread; setTimeouts: SetTimeouts } | undefined {
    // The one that was given last: the others may end.
    const [thread, ending] = [...this.#free].at(-1) ?? [];
    if (!thread || !this.#setTimeouts) return undefined;
    clearTimeout(ending);
    this.#free.delete(thread);
    this.metrics.connections.moved++;
    return { thread, setTimeouts: this.#setTimeouts };
  }

  give(thread: Thread): void {
    if (!this.#all.has(thread)) return;
    this.#free.set(thread, setTimeout(() => void this.#end(thread), KEPT).unref());
  }

  async end(): Promise<void> {
    this.limit = 0;
    await Promise.all([...this.#all].map((thread) => this.#end(thread)));
  }

  async #start(): Promise<void> {
    this.#isStarting = true;
    this.#setTimeouts ??= await loadSetTimeouts();
    try {
      if (!this.#setTimeouts) this.limit = 0;
      else if (this.limit > 0) this.#add();
    } catch {
      // They make it faster, and nothing else: without them it goes as well.
      this.limit = 0;
    }
  }

  #add(): void {
    const thread: Thread = new Thread({
      onReady: () => {
        this.#isStarting = false;
        this.give(thread);
      },
      onEnd: () => {
        this.#isStarting = false;
        this.#forget(thread);
        this.metrics.settle(thread.counts);
      },
    });
    this.#all.add(thread);
    this.metrics.add(thread.counts);
  }

  #forget(thread: Thread): void {
    clearTimeout(this.#free.get(thread));
    this.#free.delete(thread);
    this.#all.delete(thread);
  }

  #end(thread: Thread): Promise<void> {
    this.#forget(thread);
    return thread.end();
  }
}
