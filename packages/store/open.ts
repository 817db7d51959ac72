/** Stores and images by what a user writes. Each kind of place is a row. */
import { resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import type { OnRescued } from './chunks.js';
import { checkName, imageStore, type ImageStore, type WritableImageStore } from './images.js';
import { folderPlace } from './places/folder.js';
import { httpPlace } from './places/http.js';
import { isPrunable, type Place, type PrunablePlace } from './places/place.js';
import { s3Place } from './places/s3.js';

interface Kind {
  readonly protocol: string;
  readonly example: string;
  place(url: URL): Place;
}

const KINDS: readonly Kind[] = [
  { protocol: 'https:', example: 'https://HOST/PATH', place: httpPlace },
  { protocol: 'http:', example: 'http://HOST/PATH', place: httpPlace },
  { protocol: 's3:', example: 's3://BUCKET/PREFIX', place: s3Place },
];

/** What a user may write, for messages and help texts. */
export const STORE_EXAMPLES: readonly string[] = ['/srv/store', ...KINDS.map(({ example }) => example)];

/** @param text a URL, or the path of a folder. @throws UsageError if it is of no known kind */
function placeOf(text: string): Place {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text) ?? [];
  if (scheme === undefined && text !== '') return folderPlace(resolve(text));
  const kind = KINDS.find(({ protocol }) => protocol === `${scheme?.toLowerCase()}:`);
  if (kind && URL.canParse(text)) return kind.place(new URL(text));
  throw new UsageError(`${text}: no store of a known kind`, { hint: `expected ${STORE_EXAMPLES.join(', ')}` });
}

/** @throws UsageError if the text names no store of a known kind */
export const openStore = (text: string, onRescued?: OnRescued): ImageStore => imageStore(placeOf(text), onRescued);

/** @throws UsageError also if nothing can be written there */
export function openWritableStore(text: string, onRescued?: OnRescued): WritableImageStore {
  const store = openStore(text, onRescued);
  if ('publish' in store) return store as WritableImageStore;
  throw new UsageError(`${store.name}: nothing can be written there`);
}

/** For a collection. @throws UsageError if it cannot list, move and delete */
export function openPrunable(text: string): PrunablePlace {
  const place = placeOf(text);
  if (isPrunable(place)) return place;
  throw new UsageError(`${place.name}: this kind of store cannot say what it has, so nothing can be collected`, {
    hint: 'collect where the files are: in the folder, or in the bucket',
  });
}

/** `STORE:NAME`. The name is what follows the last colon. */
export interface Reference {
  readonly store: string;
  readonly name: string;
}

/** @throws UsageError unless it is `STORE:NAME` with a valid name */
export function parseReference(text: string): Reference {
  const at = text.lastIndexOf(':');
  const [store, name] = [text.slice(0, at), text.slice(at + 1)];
  if (at <= 0 || name.includes('/') || store.endsWith(':/'))
    throw new UsageError(`${text}: expected STORE:NAME, such as /srv/store:debian-12`, {
      hint: 'nodeos store ls STORE says what a store has',
    });
  return { store, name: checkName(name) };
}
