/** What the user can do about an error. */
import { codeOf } from '@nodeos/base';

/** By the error's code. */
export type Hints = Readonly<Record<string, string>>;

/** @returns nothing if the table does not have the error's code; for the details of a NodeosError */
export function hintFrom(table: Hints, error: unknown): { hint?: string } {
  const hint = table[codeOf(error) ?? ''];
  return hint === undefined ? {} : { hint };
}
