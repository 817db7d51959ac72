/** What the actions of nodeos store share. */
import { readKeys, type Keys } from '@nodeos/store';
import type { Io, Option, Parsed } from '../command.js';

export const KEY_OPTION = {
  type: 'string',
  value: 'FILE',
  help: 'the key file, from nodeos store key (default: $NODEOS_STORE_KEY)',
} as const satisfies Option;

/** The keys of `--key`, else of the environment; undefined if there are none. @throws NodeosError, as `readKeys` */
export async function keysOf(args: Parsed, { env }: Pick<Io, 'env'>): Promise<Keys | undefined> {
  const path = args.text('key') ?? env['NODEOS_STORE_KEY'];
  return path === undefined || path === '' ? undefined : readKeys(path);
}
