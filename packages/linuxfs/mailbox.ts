/**
 * The mailbox: a request and its reply through the kernel's memory, for a client that asks one thing after the other. A
 * request over the socket puts two processes to sleep and wakes them, which is most of the time of a short one. Here each
 * looks for what the other writes, as long as that pays. `struct nodefs_mailbox` of `protocol.h` says how.
 */
import { readSync, writeSync } from 'node:fs';
import { MAILBOX, MAILBOX_REPLY_MAX, MAILBOX_REQUEST_MAX } from './protocol.js';

/** Milliseconds to look for a reply: longer than the kernel needs for what is in its cache, and if it must wake first. */
const [LOOK_MS, WAKE_MS] = [0.05, 0.25];
/** Milliseconds of a request over the socket that might have been shorter so. What was slept includes two wake-ups. */
const QUICK_MS = 0.4;
/** The mailbox is worth while from so many points on. A quick request adds one, looking in vain costs VAIN. */
const [WORTHWHILE, MAX_POINTS, VAIN] = [8, 64, 8];

export class Mailbox {
  #points = 0;
  #number = 0;
  #isBusy = false;
  #isWaking = false;
  readonly #head = Buffer.alloc(2);
  readonly #state = Buffer.alloc(2);
  readonly #reply = Buffer.alloc(MAILBOX_REPLY_MAX);

  /**
   * @param memory the descriptor of the kernel's memory
   * @param place of the mailbox in it
   * @param wake sends LOOK
   * @param deliver is given each reply, valid until it returns
   */
  constructor(
    private readonly memory: number,
    private readonly place: number,
    private readonly wake: () => void,
    private readonly deliver: (reply: Buffer) => void,
  ) {}

  /** @returns false if the request must go over the socket */
  post(request: Buffer): boolean {
    if (this.#isBusy || this.#points < WORTHWHILE || request.length > MAILBOX_REQUEST_MAX) return false;
    this.#isBusy = true;
    this.#isWaking = false;
    this.#number = (this.#number + 1) % 256;
    writeSync(this.memory, request, 0, request.length, this.place + MAILBOX.request);
    this.#say(1);
    setImmediate(() => this.#look()); // whatever else is asked in this turn goes its way before
    return true;
  }

  /** A request over the socket took so long. */
  took(milliseconds: number): void {
    if (milliseconds < QUICK_MS && this.#points < MAX_POINTS) this.#points++;
  }

  /** The kernel says that a reply is there, since nobody looked. @returns whether one was there */
  collect(): boolean {
    if (!this.#isBusy) return false;
    readSync(this.memory, this.#state, 0, 2, this.place + MAILBOX.replied);
    if (this.#state[0] !== this.#number) return false;
    // Read only now: the kernel wrote the number last.
    readSync(this.memory, this.#reply, 0, MAILBOX_REPLY_MAX, this.place + MAILBOX.reply);
    this.#isBusy = false;
    const length = this.#reply.readUInt32LE(0);
    if (length > 0) this.deliver(this.#reply.subarray(0, length));
    return true;
  }

  /** Nothing is looked for any more. */
  stop(): void {
    this.#isBusy = false;
  }

  #look(): void {
    const began = performance.now();
    do {
      if (!this.#isBusy) return;
      if (this.collect()) {
        if (this.#points < MAX_POINTS) this.#points++;
        return;
      }
      if (this.#state[1] !== 0 && !this.#isWaking) {
        this.#isWaking = true;
        this.wake();
      }
    } while (performance.now() - began < (this.#isWaking ? WAKE_MS : LOOK_MS));
    this.#points -= VAIN;
    this.#say(0);
    this.collect(); // it may have come just before
  }

  #say(looking: number): void {
    this.#head[0] = this.#number;
    this.#head[1] = looking;
    writeSync(this.memory, this.#head, 0, 2, this.place);
  }
}
