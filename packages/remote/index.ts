/** Remote caches by URL. Each kind of place is a row. */
import { resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import type { RemoteCache } from '@nodeos/engine';
import { PLACES } from '@nodeos/places';
import { npm } from './npm.js';
import { oci } from './oci.js';
import { placeCache } from './place-cache.js';

interface Kind {
  readonly protocol: string;
  readonly example: string;
  open(url: URL): RemoteCache;
}

const KINDS: readonly Kind[] = [
  ...PLACES.map(({ protocol, example, open }) => ({ protocol, example, open: (url: URL) => placeCache(open(url)) })),
  { protocol: 'oci:', example: 'oci://REGISTRY/REPOSITORY', open: oci },
  { protocol: 'npm:', example: 'npm:@SCOPE/PREFIX', open: npm },
];

/** What a user may write, for messages and help texts. */
export const REMOTE_EXAMPLES: readonly string[] = KINDS.map(({ example }) => example);

/**
 * @param text a URL, or the path of a folder
 * @throws UsageError if it is of no known kind
 */
export function remoteCache(text: string): RemoteCache {
  const isPath = /^[./]/.test(text);
  const url = isPath ? new URL(`file://${encodeURI(resolve(text)).replace(/[?#]/g, encodeURIComponent)}`) : urlOf(text);
  const kind = KINDS.find(({ protocol }) => protocol === url?.protocol);
  if (url && kind) return kind.open(url);
  throw new UsageError(`${text}: no remote cache of a known kind`, { hint: `expected ${REMOTE_EXAMPLES.join(', ')}` });
}

const urlOf = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);
