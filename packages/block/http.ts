/** A file on an HTTP server as a read-only device, by range requests. */
import type { BlockBackend } from './backend.js';
import { emptyBody, ranged, type RangeAnswer, type RangedOptions, type RangeRequest, type Version } from './ranged.js';

export interface HttpOptions extends RangedOptions {
  /** Sent with every request. Headers that carry credentials are not sent to another origin after a redirect. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Opens a file by one request for its first byte. `version` is the ETag, or else Last-Modified, which has a resolution
 * of one second. Each `read` is one request: wrap the device in `cache` for small reads, and in `retry` for an
 * unreliable network.
 * @throws RemoteError, `transient` or not; see `ranged`
 */
export function http(url: string | URL, { headers = {}, ...options }: HttpOptions = {}): Promise<BlockBackend> {
  return ranged(String(url), (request) => get(url, headers, request), options);
}

async function get(
  url: string | URL,
  headers: Readonly<Record<string, string>>,
  { range, version, signal }: RangeRequest,
): Promise<RangeAnswer> {
  const requestHeaders = { ...headers, range, 'accept-encoding': 'identity', ...conditions(version) };
  const answer = await fetch(url, { headers: requestHeaders, signal });
  const header = (name: string): string | undefined => answer.headers.get(name) ?? undefined;
  return {
    status: answer.status,
    etag: header('etag'),
    lastModified: header('last-modified'),
    contentRange: header('content-range'),
    contentEncoding: header('content-encoding'),
    body: answer.body ?? emptyBody(),
  };
}

/** A weak ETag never matches in `If-Match` (RFC 9110, 13.1.1). The version in the answer is compared in every case. */
function conditions({ etag, lastModified }: Version): Record<string, string> {
  if (etag !== undefined && !etag.startsWith('W/')) return { 'if-match': etag };
  return lastModified === undefined ? {} : { 'if-unmodified-since': lastModified };
}
