/** Explains why an object is not a backend. Objects from plain JavaScript have not been type-checked. */
import { OPERATIONS } from './around.js';
import type { BlockBackend, BlockSizes } from './backend.js';

/** Every backend has these methods; all others are optional. */
const NEEDED = ['read', 'close'] as const;

/** @returns the reason, which names the member; undefined if the object can be a backend */
export function backendProblem(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return `it is ${describeValue(value)}, and not an object`;
  const backend = value as Partial<BlockBackend> & Record<string, unknown>;
  const { size, blockSizes } = backend;
  if (!Number.isSafeInteger(size) || Number(size) < 0)
    return `its size is ${describeValue(size)}, and not a whole number of bytes from 0 to 2^53`;
  for (const name of NEEDED) if (backend[name] === undefined) return `it has no ${name}()`;
  for (const name of [...NEEDED, ...OPERATIONS])
    if (backend[name] !== undefined && typeof backend[name] !== 'function')
      return `its ${name} is ${describeValue(backend[name])}, and not a function`;
  return blockSizes === undefined ? undefined : sizesProblem(blockSizes);
}

/** The NBD protocol requires a minimum that is a power of two, up to 64 KiB. */
function sizesProblem(sizes: BlockSizes | null): string | undefined {
  const { minimum = NaN, preferred = NaN, maximum = NaN }: Partial<BlockSizes> = sizes ?? {};
  const isWhole = [minimum, preferred, maximum].every((size) => Number.isSafeInteger(size));
  const isPower = minimum > 0 && Number.isInteger(Math.log2(minimum)) && minimum <= 64 << 10;
  if (isWhole && isPower && preferred >= minimum && maximum >= minimum) return undefined;
  return `its blockSizes are ${minimum}, ${preferred} and ${maximum}: a power of two up to 65536, and two that are no less`;
}

const MAX_WORDS = 40;

/** Formats a value for a message: `a function`, `10n`, `NaN`, `"text"`. */
function describeValue(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return JSON.stringify(value.slice(0, MAX_WORDS));
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}
