/** A device that fails on request, for tests. */
import { around, type Operation } from './around.js';
import { failure, type BlockBackend } from './backend.js';
import { random } from './random.js';

/** Selects requests that fail: those that match every given property. */
export interface Fault {
  /** Default: all operations. */
  readonly operations?: readonly Operation[];
  /** Matches requests that touch these bytes. Requests without a range (`flush`, `resize`) never match. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Matches only the nth request among those that match `operations` and `range`, counted from 1. */
  readonly nth?: number;
  /** Matches a random share, from 0 to 1, of the requests that match `operations` and `range`. */
  readonly fraction?: number;
  /** Default EIO. */
  readonly code?: string;
  /** Whether another attempt may succeed. Default false. */
  readonly transient?: boolean;
}

const RANGELESS: ReadonlySet<Operation> = new Set(['flush', 'resize']);

/**
 * `inner`, except that requests that match a fault fail without reaching it. The same requests in the same order fail
 * the same way.
 */
export function fault(inner: BlockBackend, faults: readonly Fault[], seed = 0): BlockBackend {
  const checks = faults.map((rule, index) => ({ one: rule, hits: matcher(rule, seed + index) }));
  return around(inner, (operation, offset, length, work) => {
    const hit = checks.filter(({ hits: matches }) => matches(operation, offset, length))[0]?.one; // each counts every request
    if (hit === undefined) return work();
    const message = `${operation} of ${length} bytes at ${offset}: fails as it was told to`;
    throw Object.assign(failure(hit.code ?? 'EIO', message), { transient: hit.transient ?? false });
  });
}

function matcher(fault: Fault, seed: number): (operation: Operation, offset: number, length: number) => boolean {
  const { operations, range, nth, fraction } = fault;
  const nextRandom = random(seed);
  let count = 0;
  return (operation, offset, length) => {
    if (operations?.includes(operation) === false) return false;
    if (range && (RANGELESS.has(operation) || offset >= range.offset + range.length || offset + length <= range.offset))
      return false;
    count++;
    const isChosen = fraction === undefined || nextRandom() < fraction;
    return isChosen && (nth === undefined || nth === count);
  };
}
