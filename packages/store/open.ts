/** Stores and images by what a user writes. Each kind of place is a row. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '@nodeos/base';
import { isPrunable, PLACES, type Place, type PrunablePlace } from '@nodeos/places';
import type { OnRescued } from './chunks.js';
import { checkName, imageStore, type ImageStore, type WritableImageStore } from './images.js';
import type { PackRepository } from './registry/blobs.js';
import { repositoryAt } from './registry/repository.js';
import { registryStore } from './registry/store.js';

interface Kind {
  readonly protocol: string;
  readonly example: string;
  open(url: URL, onRescued?: OnRescued): ImageStore;
  /** For a collection: one of these two. */
  place?(url: URL): Place;
  repository?(url: URL): PackRepository;
}

const KINDS: readonly Kind[] = [
  ...PLACES.map(({ protocol, example, open: place }) => ({
    ...{ protocol, example, place },
    open: (url: URL, onRescued?: OnRescued) => imageStore(place(url), onRescued),
  })),
  {
    protocol: 'oci:',
    example: 'oci://REGISTRY/REPOSITORY',
    repository: repositoryAt,
    open: (url) => registryStore(repositoryAt(url)),
  },
];

/** What a user may write, for messages and help texts. */
export const STORE_EXAMPLES: readonly string[] = KINDS.map(({ example }) => example);

/** @param text a URL, or the path of a folder. @throws UsageError if it is of no known kind */
function kindOf(text: string): { readonly kind: Kind; readonly url: URL } {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const url = isUrl ? (URL.canParse(text) ? new URL(text) : undefined) : pathToFileURL(resolve(text));
  const kind = KINDS.find(({ protocol }) => protocol === url?.protocol);
  if (kind && url && text !== '') return { kind, url };
  throw new UsageError(`${text}: no store of a known kind`, { hint: `expected ${STORE_EXAMPLES.join(', ')}` });
}

/** @throws UsageError if the text names no store of a known kind */
export function openStore(text: string, onRescued?: OnRescued): ImageStore {
  const { kind, url } = kindOf(text);
  return kind.open(url, onRescued);
}

/** @throws UsageError also if nothing can be written there */
export function openWritableStore(text: string, onRescued?: OnRescued): WritableImageStore {
  const store = openStore(text, onRescued);
  if ('publish' in store) return store as WritableImageStore;
  throw new UsageError(`${store.name}: nothing can be written there`);
}

/** Whether it is in files of this machine. @throws UsageError if it is of no known kind */
export const isFolder = (text: string): boolean => kindOf(text).kind.protocol === 'file:';

/** For a collection in a registry; undefined for any other kind of store. @throws UsageError if it is of no known kind */
export function openRepository(text: string): PackRepository | undefined {
  const { kind, url } = kindOf(text);
  return kind.repository?.(url);
}

/** For a collection. @throws UsageError if it cannot list, move and delete */
export function openPrunable(text: string): PrunablePlace {
  const { kind, url } = kindOf(text);
  const place = kind.place?.(url);
  if (place && isPrunable(place)) return place;
  throw new UsageError(
    `${place?.name ?? text}: this kind of store cannot say what it has, so nothing can be collected`,
    {
      hint: 'collect where the files are: in the folder, or in the bucket',
    },
  );
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
