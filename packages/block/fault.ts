/** A device that fails as it is told, for tests. */
import { around, type Operation } from './around.js';
import { failure, type BlockBackend } from './backend.js';
import { random } from './random.js';

/** Requests that fail: those that fit all that is given. */
export interface Fault {
  /** Default: any. */
  readonly operations?: readonly Operation[];
  /** Requests that touch these bytes; those without a range (`flush`, `resize`) do not. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Of the requests that fit so far, only this one, counted from 1. */
  readonly nth?: number;
  /** Of the requests that fit so far, this part by chance, from 0 to 1. */
  readonly fraction?: number;
  /** Default EIO. */
  readonly code?: string;
  /** Whether another try may succeed. Default false. */
  readonly transient?: boolean;
}

const RANGELESS: ReadonlySet<Operation> = new Set(['flush', 'resize']);

/** `inner`, but requests that fit a fault fail without reaching it. The same requests in the same order fail alike. */
export function fault(inner: BlockBackend, faults: readonly Fault[], seed = 0): BlockBackend {
  const checks = faults.map((one, index) => ({ one, hits: matcher(one, seed + index) }));
  return around(inner, (operation, offset, length, work) => {
    const hit = checks.filter(({ hits }) => hits(operation, offset, length))[0]?.one; // every one counts every request
    if (hit === undefined) return work();
    const message = `${operation} of ${length} bytes at ${offset}: fails as it was told to`;
    throw Object.assign(failure(hit.code ?? 'EIO', message), { transient: hit.transient ?? false });
  });
}

function matcher(fault: Fault, seed: number): (operation: Operation, offset: number, length: number) => boolean {
  const { operations, range, nth, fraction } = fault;
  const chance = random(seed);
  let count = 0;
  return (operation, offset, length) => {
    if (operations?.includes(operation) === false) return false;
    if (range && (RANGELESS.has(operation) || offset >= range.offset + range.length || offset + length <= range.offset))
      return false;
    count++;
    const isChosen = fraction === undefined || chance() < fraction;
    return isChosen && (nth === undefined || nth === count);
  };
}
