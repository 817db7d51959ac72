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
const LOOK = 10;

export interface Tenant {
  /** A value that changes whenever the peer takes or sends something; undefined if nothing is expected of the peer. */
  position(): string | undefined;
  /** Called once the requested memory is available. */
  resume(): void;
  cutOff(): void;
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
    this.budget.leaveLine(this);
    return true;
  }

  /** Gives back all but this many bytes. */
  shrink(bytes: number): void {
    if (this.#size > FLOOR && bytes < this.#size) this.budget.takeBack(this, Math.max(bytes, FLOOR));
  }

  /** Stops waiting for memory. */
  leaveLine(): void {
    this.budget.leaveLine(this);
  }

  /** Gives everything back. */
  end(): void {
    this.leaveLine();
    this.shrink(0);
  }
}

export class Budget {
  #used = 0;
  /** Waiting leases in order of arrival, each with the size that it wants. */
  readonly #line = new Map<Lease, number>();
  /** Leases above the floor. */
  readonly #holders = new Set<Lease>();
  #isServing = false;
  #looks: NodeJS.Timeout | undefined;
  #seen = new Map<Lease, string>();

  /** @param limit bytes above the floors; a single lease may exceed it while the others hold none */
  constructor(private readonly limit: number) {}

  /** @returns whether the lease has grown; otherwise it waits */
  grow(lease: Lease, size: number): boolean {
    if (this.#line.size === 0 && this.#has(lease, size)) {
      this.#set(lease, size);
      return true;
    }
    // The place in the queue stays the same.
    this.#line.set(lease, size);
    this.#looks ??= setInterval(() => this.#look(), LOOK * 1000);
    // The lease may be the first, and want less than before.
    this.#serveSoon();
    return false;
  }

  takeBack(lease: Lease, size: number): void {
    this.#set(lease, size);
    this.#serveSoon();
  }

  leaveLine(lease: Lease): void {
    if (this.#line.delete(lease)) this.#serveSoon();
  }

  #has(lease: Lease, size: number): boolean {
    const others = this.#used - (lease.size - FLOOR);
    return others === 0 || others + size - FLOOR <= this.limit;
  }

  #set(lease: Lease, size: number): void {
    this.#used += size - lease.size;
    lease.size = size;
    if (size > FLOOR) this.#holders.add(lease);
    else this.#holders.delete(lease);
  }

  /** Deferred, because each served lease may free memory for the next one, without end. */
  #serveSoon(): void {
    if (this.#isServing || this.#line.size === 0) return this.#rest();
    this.#isServing = true;
    setImmediate(() => {
      this.#isServing = false;
      for (const [lease, size] of this.#line) {
        if (!this.#has(lease, size)) break;
        this.#line.delete(lease);
        this.#set(lease, size);
        lease.tenant.resume();
      }
      this.#rest();
    });
  }

  #rest(): void {
    if (this.#line.size > 0) return;
    clearInterval(this.#looks);
    this.#looks = undefined;
    this.#seen.clear();
  }

  #look(): void {
    const seen = new Map<Lease, string>();
    for (const lease of [...this.#holders]) {
      const position = lease.tenant.position();
      if (position === undefined) continue;
      if (this.#seen.get(lease) === position) lease.tenant.cutOff();
      else seen.set(lease, position);
    }
    this.#seen = seen;
  }
}
