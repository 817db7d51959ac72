/** Shared by the actions of nodeos cache. */
import { formatSize, UsageError } from '@nodeos/base';
import type { Skipped } from '@nodeos/engine';
import { printMessage, type Io, type Parsed } from '../command.js';

/** Wide enough for a column. */
export const paddedSize = (bytes: number): string => formatSize(bytes).padStart(11);

/** @throws UsageError if there are any */
export function checkNoOperands(name: string, { operands }: Parsed): void {
  if (operands.length > 0) throw new UsageError(`nodeos ${name} takes no operand, and not ${operands.join(' ')}`);
}

/** Maximum number of paths listed one by one. */
const MAX_REPORTED = 10;

/** Reports the foreign files that stay in the cache's folders. */
export function reportSkipped(io: Io, skipped: readonly Skipped[]): void {
  for (const { path, reason } of skipped.slice(0, MAX_REPORTED)) printMessage(io, `left alone: ${path}: ${reason}`);
  if (skipped.length > MAX_REPORTED) printMessage(io, `left alone: ${skipped.length - MAX_REPORTED} more`);
}
