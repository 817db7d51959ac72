/**
 * Sends bytes in few large writes. A reply is assembled in a slab, with its header next to its data. Replies that are
 * ready in the same turn of the event loop leave in one write.
 */
import { HEADROOM, type Pool } from './pool.js';

/** Bytes: enough for the replies to a few dozen small requests. */
const SLAB = (256 << 10) + HEADROOM;

/** Bytes of a word of memory. */
const WORD = 8;

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** Slots that are not written yet. */
  slots: number;
  /** Whether the buffer is not from the pool. */
  readonly isExternal?: boolean;
}

/** Memory for one message. */
export interface Slot {
  readonly slab: Slab;
  /** The start in the slab's bytes. */
  readonly start: number;
  readonly end: number;
}

/** The destination of the bytes, such as a stream. */
export interface Outlet {
  /** Calls back once the bytes have left, or never will. */
  write(bytes: Uint8Array, onWritten: () => void): unknown;
  cork(): void;
  uncork(): void;
}

export class Outbox {
  #slab: Slab | undefined;
  /** Slots in the order of sending; adjacent slots are merged. */
  #ready: { slab: Slab; start: number; end: number; slots: number }[] = [];
  #scheduled = false;
  #held = 0;

  constructor(
    private readonly outlet: Outlet,
    private readonly pool: Pool,
    /** Called when bytes have left. */
    private readonly onSent: () => void = () => undefined,
    /** Calls back once this turn's replies are ready. `flush` sends them earlier. */
    private readonly schedule: (write: () => void) => void = (write) => process.nextTick(write),
  ) {}

  /** Bytes that were sent and are not yet taken by the socket. */
  get held(): number {
    return this.#held;
  }

  reserve(length: number): Slot {
    let slab = this.#slab;
    if (!slab || slab.bytes.length - slab.used < length) slab = this.#anotherSlab(length);
    const start = slab.used;
    slab.used += length;
    slab.slots++;
    return { slab, start, end: slab.used };
  }

  /** Sends a slot after all that were sent before. */
  send({ slab, start, end }: Slot): void {
    this.#held += end - start;
    const last = this.#ready.at(-1);
    if (last?.slab === slab && last.end === start) {
      last.end = end;
      last.slots++;
    } else this.#ready.push({ slab, start, end, slots: 1 });
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.schedule(this.#write);
  }

  /** Sends the ready slots at once. */
  flush(): void {
    while (this.#ready.length > 0) this.#write();
  }

  /** Sends bytes without copying them; they must not change until the peer has answered. */
  sendBytes(bytes: Buffer): void {
    this.send({ slab: { bytes, used: bytes.length, slots: 1, isExternal: true }, start: 0, end: bytes.length });
  }

  /** Gives a slot back unsent. */
  cancel({ slab, start, end }: Slot): void {
    if (slab.used === end) slab.used = start;
    this.#free(slab, 1);
  }

  #anotherSlab(length: number): Slab {
    // A large message ends with a word of memory, and so do its data: shared memory is copied faster so.
    const padding = length > SLAB ? -length & (WORD - 1) : 0;
    const slab = { bytes: this.pool.acquire(Math.max(length + padding, SLAB)), used: padding, slots: 0 };
    const previous = this.#slab;
    this.#slab = slab;
    if (previous?.slots === 0) this.pool.release(previous.bytes);
    return slab;
  }

  readonly #write = (): void => {
    this.#scheduled = false;
    const ready = this.#ready;
    this.#ready = [];
    if (ready.length > 1) this.outlet.cork();
    for (const { slab, start, end, slots } of ready) {
      // The callback comes in every case, even if the socket is destroyed.
      this.outlet.write(slab.bytes.subarray(start, end), () => {
        this.#free(slab, slots);
        this.#held -= end - start;
        this.onSent();
      });
    }
    if (ready.length > 1) this.outlet.uncork();
  };

  #free(slab: Slab, slots: number): void {
    slab.slots -= slots;
    if (slab.slots === 0) {
      if (slab === this.#slab && slab.bytes.length > SLAB) this.#slab = undefined;
      if (slab === this.#slab) slab.used = 0;
      else if (!slab.isExternal) this.pool.release(slab.bytes);
    }
  }
}
