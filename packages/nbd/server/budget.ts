/**
 * The memory that all connections share. Each connection has a floor of its own, so small requests always proceed.
 * Memory above the floor comes from the budget. Connections that need more than is left wait in a queue, in strict
 * order.
 *
 * While a connection waits, others are cut off if they hold some of the budget and do nothing to free it: they take no
 * replies, or do not send the data that they announced. Memory for an export that does not answer stays held.
 */

/** Bytes that each connection has for itself. */
export const FLOOR = 256 << 10;
/** Seconds between checks of the holders, and so the least time that a holder may do nothing. */
const WATCH_SECONDS = 10;

export interface Tenant {
  /** A value that changes whenever the peer takes or sends something; undefined if nothing is expected of the peer. */
  position(): string | undefined;
  /** Called once the requested memory is available. */
  resume(): void;
  disconnect(): void;
}

/** The share of one connection. */
export class Lease {
  #size = FLOOR;

  constructor(
    private readonly budget: Budget,
    readonly tenant: Tenant,
  ) {}

  /** Bytes; only the budget sets it. */
  get size(): number {
    return this.#size;
  }
  set size(bytes: number) {
    this.#size = bytes;
  }

  /** Whether the connection may use this many bytes now. If not, `resume` is called once it may. */
  covers(bytes: number): boolean {
    if (bytes > this.#size) return this.budget.grow(this, bytes);
    this.budget.leaveQueue(this);
    return true;
  }

  /** Gives back all but this many bytes. */
  shrink(bytes: number): void {
    if (this.#size > FLOOR && bytes < this.#size) this.budget.reclaim(this, Math.max(bytes, FLOOR));
  }

  /** Stops waiting for memory. */
  leaveQueue(): void {
    this.budget.leaveQueue(this);
  }

  /** Gives everything back. */
  end(): void {
    this.leaveQueue();
    this.shrink(0);
  }
}

export class Budget {
  #used = 0;
  /** Waiting leases in order of arrival, each with the size that it wants. */
  readonly #queue = new Map<Lease, number>();
  /** Leases above the floor. */
  readonly #holders = new Set<Lease>();
  #isServing = false;
  #watchTimer: NodeJS.Timeout | undefined;
  #lastPositions = new Map<Lease, string>();

  /** @param limit bytes above the floors; a single lease may exceed it while the others hold none */
  constructor(private readonly limit: number) {}

  /** @returns whether the lease has grown; otherwise it waits */
  grow(lease: Lease, size: number): boolean {
    if (this.#queue.size === 0 && this.#fits(lease, size)) {
      this.#set(lease, size);
      return true;
    }
    // The place in the queue stays the same.
    this.#queue.set(lease, size);
    this.#watchTimer ??= setInterval(() => this.#checkStalled(), WATCH_SECONDS * 1000);
    // The lease may be the first, and want less than before.
    this.#scheduleServing();
    return false;
  }

  reclaim(lease: Lease, size: number): void {
    this.#set(lease, size);
    this.#scheduleServing();
  }

  leaveQueue(lease: Lease): void {
    if (this.#queue.delete(lease)) this.#scheduleServing();
  }

  #fits(lease: Lease, size: number): boolean {
    const usedByOthers = this.#used - (lease.size - FLOOR);
    return usedByOthers === 0 || usedByOthers + size - FLOOR <= this.limit;
  }

  #set(lease: Lease, size: number): void {
    this.#used += size - lease.size;
    lease.size = size;
    if (size > FLOOR) this.#holders.add(lease);
    else this.#holders.delete(lease);
  }

  /** Deferred, because each served lease may free memory for the next one, without end. */
  #scheduleServing(): void {
    if (this.#isServing || this.#queue.size === 0) return this.#stopWatching();
    this.#isServing = true;
    setImmediate(() => {
      this.#isServing = false;
      for (const [lease, size] of this.#queue) {
        if (!this.#fits(lease, size)) break;
        this.#queue.delete(lease);
        this.#set(lease, size);
        lease.tenant.resume();
      }
      this.#stopWatching();
    });
  }

  #stopWatching(): void {
    if (this.#queue.size > 0) return;
    clearInterval(this.#watchTimer);
    this.#watchTimer = undefined;
    this.#lastPositions.clear();
  }

  #checkStalled(): void {
    const positions = new Map<Lease, string>();
    for (const lease of [...this.#holders]) {
      const position = lease.tenant.position();
      if (position === undefined) continue;
      if (this.#lastPositions.get(lease) === position) lease.tenant.disconnect();
      else positions.set(lease, position);
    }
    this.#lastPositions = positions;
  }
}
