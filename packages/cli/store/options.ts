/** What the actions of nodeos store share. */
import { findRecipe, openStore, parseReference, readKeys, type Keys, type Recipe } from '@nodeos/store';
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

/** The public part of an image. @param text `STORE:NAME`. @throws UsageError for any other text; NodeosError if there is none */
export async function recipeOf(text: string): Promise<Recipe> {
  const { store: place, name } = parseReference(text);
  const store = openStore(place);
  return (await findRecipe(store, name).finally(() => store.close())).recipe;
}
