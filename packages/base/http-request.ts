/**
 * HTTP requests, with proxies from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). Node.js's own client: undici 7
 * ends the process when a server closes its connection while the reader is slow (nodejs/undici#5360).
 */
import { request as plain, type Agent, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as secure } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { NodeosError } from './errors.js';

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number | undefined> = new Set([301, 302, 303, 307, 308]);

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | Readable;
  readonly signal: AbortSignal;
  /** Milliseconds of silence after which the connection is closed. */
  readonly timeout: number;
  /** Whether redirects of GET and HEAD are followed. Default true. */
  readonly isFollowed?: boolean;
}

/** The answer is read from the message itself, or dropped with `destroy`. */
export type HttpResponse = IncomingMessage & {
  readonly statusCode: number;
  /** Who answered: another one than was asked after a redirect. */
  readonly from: URL;
};

/**
 * Sends a request. Redirects of GET and HEAD are followed, five at most; credentials do not follow to another host.
 * @throws NodeosError if it is redirected too often, or to something other than HTTP; errors of the network
 */
export async function httpRequest(first: URL | string, request: HttpRequest): Promise<HttpResponse> {
  const { method = 'GET' } = request;
  const headers = { ...request.headers };
  let url = new URL(first);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (!/^https?:$/.test(url.protocol)) throw new NodeosError(`redirected to ${url.href}, which is not HTTP`);
    const response = await send(url, { ...request, headers });
    const next = response.headers.location;
    const isFollowed = (method === 'GET' || method === 'HEAD') && request.isFollowed !== false;
    if (!isFollowed || next === undefined || !REDIRECTS.has(response.statusCode)) return response;
    response.destroy();
    const target = new URL(next, url);
    if (target.origin !== url.origin) delete headers['authorization'];
    url = target;
  }
  throw new NodeosError(`more than ${MAX_REDIRECTS} redirects`);
}

async function send(url: URL, { method = 'GET', headers, body, signal, timeout }: HttpRequest): Promise<HttpResponse> {
  const agent = await proxyFor(url);
  const options: RequestOptions = { method, headers, signal, timeout, ...(agent ? { agent } : {}) };
  return new Promise<HttpResponse>((resolve, reject) => {
    const message = (url.protocol === 'https:' ? secure : plain)(url, options, (response) => {
      // An answer that nobody reads any more may still fail.
      response.on('error', () => undefined);
      resolve(Object.assign(response as HttpResponse, { from: url }));
    });
    message.on('error', reject);
    message.on('timeout', () => message.destroy(new Error(`no data for ${timeout / 1000} s`)));
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) message.end(body);
    else pipeline(body, message).catch(reject);
  });
}

/** The proxy that the environment names for this URL. Its packages are loaded only if there is one. */
async function proxyFor(url: URL): Promise<Agent | undefined> {
  if (!Object.keys(process.env).some((name) => /^(?:https?|all)_proxy$/i.test(name))) return undefined;
  const { getProxyForUrl } = await import('proxy-from-env');
  const proxy = getProxyForUrl(url.href);
  if (proxy === '') return undefined;
  if (url.protocol === 'https:') return new (await import('https-proxy-agent')).HttpsProxyAgent(proxy);
  return new (await import('http-proxy-agent')).HttpProxyAgent(proxy);
}
