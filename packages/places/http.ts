/** A web server, such as a CDN: GET and HEAD, and PUT where it takes that. It cannot list. */
import { collected, NodeosError } from '@nodeos/base';
import { httpRequest, type HttpRequest, type HttpResponse } from '@nodeos/base/http';
import { tooLarge } from './answers.js';
import { bodyOf, sizeOf, type WritablePlace } from './place.js';

/** Milliseconds of silence after which a request is given up. */
const TIMEOUT = 20_000;
/** The same for what is stored: a server may take its time with a large file. */
const PUT_TIMEOUT = 60_000;

/** @param base its user and password are sent, and not shown */
export function httpPlace(base: URL): WritablePlace {
  const root = new URL(base);
  const { username, password } = root;
  [root.username, root.password, root.search, root.hash] = ['', '', '', ''];
  if (!root.pathname.endsWith('/')) root.pathname += '/';
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const credentials: Record<string, string> =
    username === '' ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
  const name = root.href.replace(/\/$/, '');

  async function ask(path: string, request: Partial<HttpRequest> = {}): Promise<HttpResponse> {
    const headers = { 'accept-encoding': 'identity', ...credentials, ...request.headers };
    const signal = request.signal ?? new AbortController().signal;
    return httpRequest(new URL(path, root), { timeout: TIMEOUT, ...request, headers, signal });
  }

  /** @returns whether there is such a file. @throws NodeosError for any other answer */
  function isThere(response: HttpResponse, path: string): boolean {
    const { statusCode } = response;
    if (statusCode === 200) return true;
    response.destroy();
    if (statusCode === 404 || statusCode === 410) return false;
    throw new NodeosError(`${name}/${path}: HTTP status ${statusCode}`);
  }

  async function open(path: string, signal?: AbortSignal): Promise<HttpResponse | undefined> {
    const response = await ask(path, signal ? { signal } : {});
    return isThere(response, path) ? response : undefined;
  }

  return {
    name,
    open,
    async get(path, most, signal) {
      const response = await open(path, signal);
      if (!response) return undefined;
      const stated = Number(response.headers['content-length'] ?? NaN);
      try {
        if (stated > most) throw tooLarge(`${name}/${path}`, most);
        const bytes = await collected(response, most, () => tooLarge(`${name}/${path}`, most));
        if (Number.isNaN(stated) || bytes.length === stated) return bytes;
        throw new NodeosError(`${name}/${path}: ${bytes.length} of ${stated} bytes came`);
      } finally {
        response.destroy();
      }
    },
    async size(path) {
      const response = await ask(path, { method: 'HEAD' });
      if (!isThere(response, path)) return undefined;
      response.destroy();
      const stated = response.headers['content-length'];
      return stated === undefined ? undefined : Number(stated);
    },
    async put(path, content, signal) {
      const response = await ask(path, {
        ...{ method: 'PUT', headers: { 'content-length': String(sizeOf(content)) }, body: bodyOf(content) },
        ...{ timeout: PUT_TIMEOUT, ...(signal && { signal }) },
      });
      response.destroy();
      if (response.statusCode < 200 || response.statusCode > 299)
        throw new NodeosError(`PUT ${name}/${path}: HTTP status ${response.statusCode}`);
    },
  };
}
