/** Hints for the user about an error. */
import { codeOf } from '@nodeos/base';

/** Hints by the code of an error. */
export type Hints = Readonly<Record<string, string>>;

/** @returns the details for a NodeosError, without `hint` if the table does not have the error's code */
export function hintFrom(table: Hints, error: unknown): { hint?: string } {
  const hint = table[codeOf(error) ?? ''];
  return hint === undefined ? {} : { hint };
}
