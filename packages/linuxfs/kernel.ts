/** A kernel in a child process: sends requests, gets replies, and notices its end. */
import type { ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { BlockBackend } from '@nodeos/block';
import { Cancellations } from './cancellations.js';
import { DiskServer } from './disk-server.js';
import { fsError } from './errors.js';
import { Mailbox } from './mailbox.js';
import {
  CAN_TRIM,
  CAN_ZERO,
  DISKS,
  encodeRequest,
  Messages,
  MOUNTS,
  read64,
  READ_ONLY,
  REPLY_SIZE,
  type Hello,
  type Reply,
  type Request,
} from './protocol.js';
import { Slots } from './slots.js';
import { started } from './started.js';

export interface KernelOptions {
  /** The kernel's file: a program, or a kernel for QEMU. */
  readonly path: string;
  /** Bytes of memory for its caches. At least 64 MiB, under QEMU at most 2 GiB. Default 128 MiB. */
  readonly memory?: number;
  /** Is given each line that the kernel logs. */
  readonly log?: (line: string) => void;
  /** Kills the kernel when it is aborted. */
  readonly signal?: AbortSignal;
  /**
   * Seconds that a request may take while no disk is waited for. Then the kernel counts as hung, and is killed. At least 1;
   * default 60.
   */
  readonly patience?: number;
}

interface Waiting {
  /** Of a request that a signal may give up. */
  readonly forget?: () => void;
  readonly resolve: (reply: Reply | number) => void;
  /** Milliseconds, as `performance.now()`. */
  readonly since: number;
  /** The kernel's own seconds at that time. */
  readonly worked: number;
}

const [EINTR, EIO] = [4, 5];
const LOOK = encodeRequest(0, { op: 'LOOK' });
/** Milliseconds that a kernel has for its end when it is not needed any more. */
const END_TIMEOUT = 5000;
/** The kernel takes as many requests at once as it has workers; a few more wait in the socket. */
const IN_FLIGHT = 64;

export class Kernel {
  readonly #waiting = new Map<number, Waiting>();
  readonly #queue: (() => void)[] = [];
  readonly #cancellations: Cancellations;
  /** For bulk data. */
  readonly slots: Slots;
  readonly #usedDisks = new Set<number>();
  readonly #usedMounts = new Set<number>();
  readonly #mailbox: Mailbox;
  #watch: NodeJS.Timeout | undefined;
  /** Seconds in which a request waited and no disk was to blame. */
  #worked = 0;
  #tag = 0;
  #end: Error | undefined;
  #isClosing = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly files: Socket,
    private readonly disks: DiskServer,
    private readonly memory: number,
    hello: Hello,
    private readonly patience: number,
    readonly ended: Promise<Error>,
  ) {
    this.#cancellations = new Cancellations((tag) => disks.cancel(tag));
    this.slots = new Slots(memory, hello.slots, (syscall, isPossible) => {
      if (this.#end || !isPossible) throw this.error(EIO, syscall);
    });
    this.#mailbox = new Mailbox(
      memory,
      hello.mailbox,
      () => files.write(LOOK),
      (message) => this.#guarded(() => this.#reply(message)),
    );
    const messages = new Messages();
    files.on('data', (chunk: Buffer) => this.#guarded(() => messages.feed(chunk, (message) => this.#receive(message))));
    files.resume(); // it was paused after the first message
    void ended.then((error) => this.#fail(error));
  }

  /** @throws Error if it does not start, with what it logged */
  static async start({ path, memory: bytes = 128 << 20, log, patience = 60, signal }: KernelOptions): Promise<Kernel> {
    const { child, files, disks, hello, memory, ended } = await started({ path, bytes, ...(log ? { log } : {}) });
    let report: (error: Error) => void = () => undefined;
    const server = new DiskServer(disks, memory, (error) => report(error));
    const kernel = new Kernel(child, files, server, memory, hello, patience, ended);
    report = (error) => kernel.#fail(error);
    kernel.#endWith(signal);
    return kernel;
  }

  /** The process, for signals. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /**
   * A request without bulk data. A signal gives it up: what waits for a disk ends with EINTR, and what has been done stays.
   * @returns the reply, or an errno
   */
  async call(request: Request, signal?: AbortSignal): Promise<Reply | number> {
    if (this.#waiting.size >= IN_FLIGHT) await new Promise<void>((resolve) => this.#queue.push(resolve));
    if (this.#end) return EIO;
    if (signal?.aborted) return EINTR;
    do this.#tag = this.#tag === 0xffffffff ? 1 : this.#tag + 1;
    while (this.#waiting.has(this.#tag));
    const tag = this.#tag;
    const bytes = encodeRequest(tag, request);
    return new Promise((resolve) => {
      const forget = signal && this.#cancellations.add(signal, tag);
      const since = performance.now();
      this.#waiting.set(tag, { resolve, since, worked: this.#worked, ...(forget ? { forget } : {}) });
      this.#watch ??= setInterval(() => this.#look(), 1000).unref();
      if (this.#waiting.size > 1 || !this.#mailbox.post(bytes)) this.#write(bytes);
    });
  }

  /** What ended the kernel, if it has ended. */
  get end(): Error | undefined {
    return this.#end;
  }

  /** @returns the number of the disk. @throws Error if there are as many as the kernel can have */
  async attach(backend: BlockBackend, readOnly: boolean): Promise<number> {
    const disk = take(this.#usedDisks, DISKS, 'disks');
    this.disks.add(disk, backend);
    const flags =
      (readOnly || !backend.write ? READ_ONLY : 0) | (backend.trim ? CAN_TRIM : 0) | (backend.zero ? CAN_ZERO : 0);
    const sector = Math.min(4096, Math.max(512, backend.blockSizes?.minimum ?? 512));
    const reply = await this.call({ op: 'ATTACH', value: disk, size: backend.size, mode: sector, flags });
    if (typeof reply !== 'number') return disk;
    this.#forgetDisk(disk);
    throw this.error(reply, 'attach');
  }

  async detach(disk: number): Promise<void> {
    await this.call({ op: 'DETACH', value: disk });
    this.#forgetDisk(disk);
  }

  takeMount(): number {
    return take(this.#usedMounts, MOUNTS, 'filesystems');
  }

  freeMount(mount: number): void {
    this.#usedMounts.delete(mount);
  }

  /** An errno as an error; of a kernel that has ended, with what ended it as the cause. */
  error(number: number, syscall: string, path?: string, dest?: string): Error {
    const error = fsError(number, syscall, path, dest);
    if (this.#end) error.cause = this.#end;
    return error;
  }

  /** Ends the kernel. Everything must be unmounted before, or counts as after a power cut. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.files.destroy();
    const killer = setTimeout(() => this.kill(), END_TIMEOUT);
    await this.ended;
    clearTimeout(killer);
  }

  /** Kills the kernel at once. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  #endWith(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const end = (): void => this.#fail(new Error('the kernel was ended by a signal', { cause: signal.reason }));
    if (signal.aborted) return end();
    signal.addEventListener('abort', end, { once: true });
    void this.ended.then(() => signal.removeEventListener('abort', end));
  }

  /** What is asked in one turn goes with one system call, and wakes the kernel once. */
  #write(bytes: Buffer): void {
    if (this.files.writableCorked === 0) {
      this.files.cork();
      process.nextTick(() => this.files.uncork());
    }
    this.files.write(bytes);
  }

  #forgetDisk(disk: number): void {
    this.disks.remove(disk);
    this.#usedDisks.delete(disk);
  }

  /** What the kernel sends may make no sense: an image may have taken it over. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** The tag 0 says that a reply is in the mailbox. */
  #receive(message: Buffer): void {
    const tag = message.readUInt32LE(4);
    if (tag === 0) return void this.#mailbox.collect();
    const waiting = this.#waiting.get(tag);
    if (waiting && this.#waiting.size === 1) this.#mailbox.took(performance.now() - waiting.since);
    this.#reply(message);
  }

  #reply(message: Buffer): void {
    const tag = message.readUInt32LE(4);
    const waiting = this.#waiting.get(tag);
    if (!waiting) return this.#fail(new Error(`the kernel replied to a request that nobody made (${tag})`));
    const error = message.readUInt32LE(8);
    const data = Buffer.from(message.subarray(REPLY_SIZE));
    this.#waiting.delete(tag);
    waiting.forget?.();
    waiting.resolve(error || { handle: message.readUInt32LE(12), value: read64(message, 16), data });
    this.#queue.shift()?.();
  }

  /** Each second while something waits. */
  #look(): void {
    const [oldest] = this.#waiting.values();
    if (!oldest) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    } else if (this.disks.pending === 0 && ++this.#worked - oldest.worked > this.patience) {
      this.#fail(new Error(`the kernel hangs: a request has taken ${this.patience} s without waiting for a disk`));
    }
  }

  #fail(error: Error): void {
    if (this.#end) return;
    this.#end = error;
    clearInterval(this.#watch);
    this.#mailbox.stop();
    if (!this.#isClosing) this.child.kill('SIGKILL');
    this.disks.stop(); // before the number of the descriptor can be another file's
    closeSync(this.memory);
    for (const { resolve, forget } of this.#waiting.values()) {
      forget?.();
      resolve(EIO);
    }
    this.#waiting.clear();
    for (const go of this.#queue.splice(0)) go();
  }
}

function take(used: Set<number>, most: number, what: string): number {
  for (let number = 0; number < most; number++) {
    if (used.has(number)) continue;
    used.add(number);
    return number;
  }
  throw Object.assign(new Error(`one kernel has at most ${most} ${what}`), { code: 'EMFILE' });
}
