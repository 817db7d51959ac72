/**
 * The memory that all connections share. Each has a floor of its own, so that small requests always get on; what it has
 * above it is taken from the budget. Who finds too little left waits in a line, in which nobody is overtaken.
 *
 * While somebody waits, who holds some of the budget and does nothing to free it (takes no replies, or does not send the
 * data that it announced) is cut off. What an export holds that does not answer is held for as long.
 */

/** Bytes that each connection has for itself. */
export const FLOOR = 256 << 10;
/** Seconds between looks at those who hold something, and so the least that they may do nothing. */
const LOOK = 10;

export interface Tenant {
  /** Something that changes whenever the peer takes or sends something; undefined: nothing is expected of it. */
  position(): string | undefined;
  /** What it has waited for is there. */
  resume(): void;
  cutOff(): void;
}

/** A connection's part. */
export class Lease {
  #size = FLOOR;

  constructor(
    private readonly budget: Budget,
    readonly tenant: Tenant,
  ) {}

  /** Bytes; set by the budget only. */
  get size(): number {
    return this.#size;
  }
  set size(bytes: number) {
    this.#size = bytes;
  }

  /** Whether it may have so many bytes now. If not, it is told when it may. */
  covers(bytes: number): boolean {
    if (bytes > this.#size) return this.budget.grow(this, bytes);
    this.budget.leaveLine(this);
    return true;
  }

  /** It has no more than so many bytes now; the rest is given back. */
  shrink(bytes: number): void {
    if (this.#size > FLOOR && bytes < this.#size) this.budget.takeBack(this, Math.max(bytes, FLOOR));
  }

  /** It waits for nothing any more. */
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
  /** Who waits, in the order of coming, and the size that is wanted. */
  readonly #line = new Map<Lease, number>();
  /** Who has more than the floor. */
  readonly #holders = new Set<Lease>();
  #isServing = false;
  #looks: NodeJS.Timeout | undefined;
  #seen = new Map<Lease, string>();

  /** @param limit bytes above the floors; one lease may have more, while the others have none */
  constructor(private readonly limit: number) {}

  /** @returns whether it was; if not, it waits */
  grow(lease: Lease, size: number): boolean {
    if (this.#line.size === 0 && this.#has(lease, size)) {
      this.#set(lease, size);
      return true;
    }
    // The place in the line stays.
    this.#line.set(lease, size);
    this.#looks ??= setInterval(() => this.#look(), LOOK * 1000);
    // It may be the first, and want less than before.
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

  /** Not at once: each that is served may free what serves the next one, and so on without end. */
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
