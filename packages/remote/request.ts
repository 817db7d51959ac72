/** HTTP requests with proxies from the environment, whose redirects never take credentials to another host. */
import type { Readable } from 'node:stream';
import { NodeosError } from '@nodeos/base';
import { EnvHttpProxyAgent, request as send, type Dispatcher } from 'undici';

const MAX_REDIRECTS = 5;
/** Silence is ended by the caller's signal; this is for a caller without one. */
const TIMEOUT_MS = 60_000;

let agent: Dispatcher | undefined;

export interface Request {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Readable | string;
  readonly signal: AbortSignal;
}

export type Response = Dispatcher.ResponseData;

/** @throws NodeosError if it is redirected too often, or to something other than HTTP; errors of the network */
export async function request(first: URL | string, { method = 'GET', signal, ...rest }: Request): Promise<Response> {
  agent ??= new EnvHttpProxyAgent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  let url = new URL(first);
  const headers = { ...rest.headers };
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (!/^https?:$/.test(url.protocol)) throw new NodeosError(`${url.href} is not HTTP`);
    const response = await send(url, { method, headers, body: rest.body ?? null, signal, dispatcher: agent });
    const next = response.headers['location'];
    const isRedirect = [301, 302, 303, 307, 308].includes(response.statusCode);
    if (!isRedirect || typeof next !== 'string' || method === 'POST' || method === 'PUT') return response;
    await response.body.dump();
    const target = new URL(next, url);
    if (target.origin !== url.origin) delete headers['authorization'];
    url = target;
  }
  throw new NodeosError(`more than ${MAX_REDIRECTS} redirects from ${String(first)}`);
}

export const isSuccess = ({ statusCode }: Response): boolean => statusCode >= 200 && statusCode < 300;

/** @returns undefined if it is not there. @throws NodeosError for any other answer than success */
export async function bodyOf(response: Response): Promise<Readable | undefined> {
  if (isSuccess(response)) return response.body;
  await response.body.dump();
  if (response.statusCode === 404) return undefined;
  throw new NodeosError(`HTTP status ${response.statusCode}`);
}

/** Reads a small answer. @throws NodeosError if it is longer than `most` bytes, or no success */
export async function textOf(response: Response, most: number): Promise<string> {
  const body = await bodyOf(response);
  if (!body) throw new NodeosError('HTTP status 404');
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > most) throw new NodeosError(`the answer is longer than ${most} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
