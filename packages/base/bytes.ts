/** Parses and prints byte counts. */
import { UsageError } from './errors.js';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

/**
 * Parses a size such as `512M`, `1G`, `1.5T` or `65536` into bytes. Units are powers of 1024, up to `P`.
 * @throws UsageError if `text` is not a size; the message names `subject`
 */
export function parseSize(text: string, subject: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Number(number) * 1024 ** UNITS.indexOf(unit.toUpperCase());
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new UsageError(`${subject} ${text}: expected a size such as 512M, 1G or 65536`);
}

/** Prints a byte count for a person: `1.5 GiB`. */
export function formatSize(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  if (power === 0) return `${bytes} bytes`;
  const number = bytes / 1024 ** power;
  return `${number >= 100 || Number.isInteger(number) ? Math.round(number) : number.toFixed(1)} ${UNITS[power]}iB`;
}
