/** Options that several actions share. */
import { UsageError } from '@nodeos/base';
import type { Option, Parsed } from '../command.js';

export const CONNECTIONS = {
  type: 'string',
  value: 'N',
  help: 'connections to an NBD server that allows more than one (default 4)',
} as const satisfies Option;

/** The operands of an action with a fixed number of operands. @throws UsageError naming the missing or surplus ones */
export function operandsOf(name: string, args: Parsed, ...wanted: readonly string[]): string[] {
  const { operands } = args;
  if (operands.length === wanted.length) return [...operands];
  const missing = wanted.slice(operands.length);
  const problem =
    missing.length > 0 ? `${missing.join(' and ')} is missing` : `not also ${operands.slice(wanted.length).join(' ')}`;
  throw new UsageError(`nodeos ${name} ${wanted.join(' ')}: ${problem}`, { hint: `see nodeos ${name} --help` });
}

/**
 * The value of an option as a whole number; undefined if it is not given. @throws UsageError unless it is from
 * `minimum` to `maximum`
 */
export function integerOption(args: Parsed, name: string, minimum: number, maximum: number): number | undefined {
  const number = args.number(name, minimum);
  if (number === undefined || (Number.isInteger(number) && number <= maximum)) return number;
  throw new UsageError(`--${name} ${args.text(name)}: expected a whole number from ${minimum} to ${maximum}`);
}
