/** Counts the requests to a device. */
import { around, OPERATIONS, type Operation } from './around.js';
import type { BlockBackend } from './backend.js';
import { whenSettled } from './maybe.js';

/** Counts for one operation, since the wrapper was made. */
export interface OperationStats {
  /** Requests that are done, including failed ones. */
  readonly count: number;
  readonly errors: number;
  /** Bytes of all ranges together. 0 for `resize` and `flush`. */
  readonly bytes: number;
  /** Microseconds of all requests together. */
  readonly microseconds: number;
  /** Requests per bucket: less than 1, 2, 4, 8 … microseconds, and at least half of that. */
  readonly histogram: readonly number[];
}

export type Snapshot = Readonly<Record<Operation, OperationStats>>;

export interface Counted extends BlockBackend {
  /** The current counts. */
  snapshot(): Snapshot;
}

/** The last bucket begins at 2^30 microseconds, about 18 minutes. */
const BUCKETS = 32;

interface Counters {
  count: number;
  errors: number;
  bytes: number;
  microseconds: number;
  histogram: number[];
}

/** `inner` with counts of requests, bytes and times. @param now milliseconds; only differences count */
export function stats(inner: BlockBackend, now = (): number => performance.now()): Counted {
  const counters = Object.fromEntries(OPERATIONS.map((operation) => [operation, zeros()])) as Record<
    Operation,
    Counters
  >;
  const device = around(inner, (operation, _offset, length, work) => {
    const started = now();
    return whenSettled(work, (error) => {
      count(counters[operation], (now() - started) * 1000, operation === 'resize' ? 0 : length, error !== undefined);
    });
  });
  return Object.assign(device, { snapshot: () => structuredClone(counters) }); // keeps the getter of `size`
}

const zeros = (): Counters => ({
  count: 0,
  errors: 0,
  bytes: 0,
  microseconds: 0,
  histogram: new Array<number>(BUCKETS).fill(0),
});

function count(counters: Counters, microseconds: number, bytes: number, failed: boolean): void {
  const bucket = Math.min(BUCKETS - 1, microseconds < 1 ? 0 : Math.floor(Math.log2(microseconds)) + 1);
  counters.count++;
  counters.bytes += bytes;
  counters.microseconds += microseconds;
  counters.histogram[bucket] = (counters.histogram[bucket] ?? 0) + 1;
  if (failed) counters.errors++;
}
