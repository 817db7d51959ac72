/** Remote caches by URL. Each kind of place is a row. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '@nodeos/base';
import type { RemoteCache } from '@nodeos/engine';
import { folder } from './folder.js';
import { http } from './http.js';
import { npm } from './npm.js';
import { oci } from './oci.js';
import { s3 } from './s3.js';
import { storeCache } from './store.js';

interface Kind {
  readonly protocol: string;
  readonly example: string;
  open(url: URL): RemoteCache;
}

const KINDS: readonly Kind[] = [
  { protocol: 'file:', example: '/srv/cache', open: (url) => storeCache(folder(fileURLToPath(url))) },
  { protocol: 'https:', example: 'https://HOST/PATH', open: (url) => storeCache(http(url)) },
  { protocol: 'http:', example: 'http://HOST/PATH', open: (url) => storeCache(http(url)) },
  { protocol: 's3:', example: 's3://BUCKET/PREFIX', open: (url) => storeCache(s3(url)) },
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
