/**
 * Threads for busy connections. A thread serves one connection at a time with blocking calls (blocking.ts), and gives
 * it back once that no longer suits the connection. Threads are started on demand and end after being idle for a while.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { recipeOf, type BlockBackend } from '@nodeos/block';
import type { ThreadResult } from './blocking.js';
import { Counts, type Metrics } from './metrics.js';
import { loadSocketCalls, type SocketCalls } from './socket-calls.js';
import type { ThreadData, Visit, ThreadMessage } from './worker.js';

/** Heap for young objects of a thread, in MiB. Small, because requests are short-lived. */
const YOUNG = 2;
/** Milliseconds to keep an idle thread. */
const KEPT = 10_000;

export type ThreadLog = (event: 'protocol' | 'request' | 'export', error: unknown) => void;

/** Requests in a row that make a connection busy. */
export const BUSY = 256;

interface Visitor {
  readonly resolve: (result: ThreadResult) => void;
  readonly reject: (error: Error) => void;
  readonly log: ThreadLog;
}

export class Thread {
  readonly counts = new Counts();
  readonly #worker: Worker;
  readonly #recalled = new Int32Array(new SharedArrayBuffer(4));
  #visitor: Visitor | undefined;

  /** @throws Error if the thread cannot be started, for example if the package is not installed under its name */
  constructor({ onReady, onEnd }: { onReady: () => void; onEnd: () => void }) {
    const workerData: ThreadData = { recalled: this.#recalled, cells: this.counts.cells };
    // The package name resolves to the compiled module, whatever this module was loaded from.
    this.#worker = new Worker(createRequire(import.meta.url).resolve('@nodeos/nbd/worker'), {
      workerData,
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG },
    });
    let failed = new Error('the thread of the connection has ended');
    this.#worker
      .on('message', (message: ThreadMessage) => (message.kind === 'ready' ? onReady() : this.#onMessage(message)))
      .on('error', (error: Error) => (failed = error))
      .on('exit', () => {
        onEnd();
        this.#visitor?.reject(failed);
      });
    // This must come after the listeners, because adding them would keep the process alive again.
    this.#worker.unref();
  }

  /** @throws Error if the thread ends in the meantime */
  async serve(visit: Visit, log: ThreadLog): Promise<ThreadResult> {
    Atomics.store(this.#recalled, 0, 0);
    try {
      return await new Promise<ThreadResult>((resolve, reject) => {
        this.#visitor = { resolve, reject, log };
        this.#worker.postMessage(visit);
      });
    } finally {
      this.#visitor = undefined;
    }
  }

  /** Asks the thread to give the connection back. */
  recall(): void {
    Atomics.store(this.#recalled, 0, 1);
  }

  async end(): Promise<void> {
    this.recall();
    await this.#worker.terminate();
  }

  #onMessage(message: Exclude<ThreadMessage, { kind: 'ready' }>): void {
    if (message.kind === 'back') this.#visitor?.resolve(message.result);
    else
      this.#visitor?.log(
        message.event,
        Object.assign(new Error(message.message), message.code && { code: message.code }),
      );
  }
}

/** A connection that may be moved to a thread. */
export interface Guest {
  /** Opens the device in another thread. The function is the same for all connections to a device. */
  readonly recipe: object;
  /**
   * Keeps the connection on the event loop from now on. @returns a promise if a thread still has it, undefined
   * otherwise
   */
  pin(): Promise<void> | undefined;
}

export class Threads {
  readonly #all = new Set<Thread>();
  /** Idle threads, each with the timer that ends it. */
  readonly #free = new Map<Thread, NodeJS.Timeout>();
  readonly #guests = new Set<Guest>();
  /** Recipes of devices that may only be used on the event loop. */
  readonly #exclusive = new WeakSet<object>();
  #calls: SocketCalls | undefined;
  #isStarting = false;

  /**
   * @param limit threads at once
   * @param busy requests in a row that make a connection busy
   */
  constructor(
    private limit: number,
    readonly busy: number,
    private readonly metrics: Metrics,
  ) {}

  /** Adds a connection that may be moved. */
  register(guest: Guest): void {
    this.#guests.add(guest);
    if (this.#exclusive.has(guest.recipe)) void guest.pin();
  }

  unregister(guest: Guest): void {
    this.#guests.delete(guest);
  }

  /** Restricts the device to the event loop from now on. @returns when no thread uses it any more */
  async makeExclusive(backend: BlockBackend): Promise<void> {
    const recipe = recipeOf(backend);
    if (!recipe) return;
    this.#exclusive.add(recipe);
    await Promise.all([...this.#guests].filter((guest) => guest.recipe === recipe).map(async (guest) => guest.pin()));
  }

  /** Whether a thread is free. If not, and the limit allows it, starts one for later. */
  isFree(): boolean {
    if (this.#free.size > 0) return true;
    if (this.#all.size < this.limit && !this.#isStarting) void this.#start();
    return false;
  }

  /** @returns a thread, which must be given back */
  acquire(): { thread: Thread; calls: SocketCalls } | undefined {
    // Take the most recently used thread, so that the others can end.
    const [thread, ending] = [...this.#free].at(-1) ?? [];
    if (!thread || !this.#calls) return undefined;
    clearTimeout(ending);
    this.#free.delete(thread);
    this.metrics.connections.moved++;
    return { thread, calls: this.#calls };
  }

  release(thread: Thread): void {
    if (!this.#all.has(thread)) return;
    this.#free.set(thread, setTimeout(() => void this.#end(thread), KEPT).unref());
  }

  async end(): Promise<void> {
    this.limit = 0;
    await Promise.all([...this.#all].map((thread) => this.#end(thread)));
  }

  async #start(): Promise<void> {
    this.#isStarting = true;
    this.#calls ??= await loadSocketCalls();
    try {
      if (!this.#calls) this.limit = 0;
      else if (this.limit > 0) this.#add();
    } catch {
      // Threads only improve speed: the server works without them.
      this.limit = 0;
    }
  }

  #add(): void {
    const thread: Thread = new Thread({
      onReady: () => {
        this.#isStarting = false;
        this.release(thread);
      },
      onEnd: () => {
        this.#isStarting = false;
        this.#remove(thread);
        this.metrics.settle(thread.counts);
      },
    });
    this.#all.add(thread);
    this.metrics.add(thread.counts);
  }

  #remove(thread: Thread): void {
    clearTimeout(this.#free.get(thread));
    this.#free.delete(thread);
    this.#all.delete(thread);
  }

  #end(thread: Thread): Promise<void> {
    this.#remove(thread);
    return thread.end();
  }
}
