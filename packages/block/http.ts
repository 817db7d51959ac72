/** A file on an HTTP server as a read-only device, by range requests. */
import type { BlockBackend } from './backend.js';
import { nothing, ranged, type RangeAnswer, type RangedOptions, type RangeRequest, type Version } from './ranged.js';

export interface HttpOptions extends RangedOptions {
  /** Sent with every request; those that name credentials are not sent to another origin after a redirect. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Opens a file by one request for its first byte; `version` is its ETag or else its Last-Modified. Each `read` is one request; put `cache` around it for small ones, and
 * `retry` for a network that fails now and then. `Last-Modified`, which is used where there is no ETag, knows seconds only.
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
  const asked = { ...headers, range, 'accept-encoding': 'identity', ...conditions(version) };
  const answer = await fetch(url, { headers: asked, signal });
  const header = (name: string): string | undefined => answer.headers.get(name) ?? undefined;
  return {
    status: answer.status,
    etag: header('etag'),
    lastModified: header('last-modified'),
    contentRange: header('content-range'),
    contentEncoding: header('content-encoding'),
    body: answer.body ?? nothing(),
  };
}

/** A weak ETag never matches in `If-Match` (RFC 9110, 13.1.1); the answer's is compared in any case. */
function conditions({ etag, lastModified }: Version): Record<string, string> {
  if (etag !== undefined && !etag.startsWith('W/')) return { 'if-match': etag };
  return lastModified === undefined ? {} : { 'if-unmodified-since': lastModified };
}
