/**
 * Logs in to a registry when it asks for that: by a token, or by name and password.
 * https://distribution.github.io/distribution/spec/auth/token/
 * https://distribution.github.io/distribution/spec/auth/oauth/
 */
import { collected, NodeosError } from '@nodeos/base';
import { httpRequest, type HttpRequest, type HttpResponse } from '@nodeos/base/http';
import { credentialsFor, type Credentials } from './credentials.js';
import { objectIn } from './model.js';

const MAX_TOKEN = 1 << 20;
const TIMEOUT_MS = 60_000;

export type Request = Omit<HttpRequest, 'timeout'>;
export type CredentialsFor = (host: string, repository: string) => Promise<Credentials | undefined>;

/** @throws the errors of `httpRequest` */
export const send = (url: URL, request: Request): Promise<HttpResponse> =>
  httpRequest(url, { timeout: TIMEOUT_MS, ...request });

export const isSuccess = ({ statusCode }: HttpResponse): boolean => statusCode >= 200 && statusCode < 300;

export const isLoopback = (hostname: string): boolean => /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);

export class Login {
  #authorization: Promise<string> | undefined;

  /** @param host as in the image's name, by which credentials are looked up */
  constructor(
    private readonly host: string,
    private readonly repository: string,
    private readonly find: CredentialsFor = credentialsFor,
  ) {}

  /**
   * Sends a request, after a login if the registry asks for one. A body that is a stream is sent once, so the first
   * request must have none.
   * @throws NodeosError if there are no credentials, or the login fails
   */
  async request(url: URL, { headers = {}, ...rest }: Request): Promise<HttpResponse> {
    const used = this.#authorization;
    const first = await this.#send(url, headers, rest);
    const challenge = first.headers['www-authenticate'];
    // Another host than the registry's, behind a redirect, is not one to log in to.
    if (first.statusCode !== 401 || typeof challenge !== 'string' || first.from.origin !== url.origin) return first;
    first.destroy();
    // Of several requests at once, one logs in.
    if (this.#authorization === used) {
      const answer = this.#answer(challenge, url, rest.signal);
      this.#authorization = answer;
      answer.catch(() => {
        if (this.#authorization === answer) this.#authorization = undefined;
      });
    }
    return this.#send(url, headers, rest);
  }

  async #send(
    url: URL,
    headers: Readonly<Record<string, string>>,
    rest: Omit<Request, 'headers'>,
  ): Promise<HttpResponse> {
    const authorization = await this.#authorization;
    return send(url, { ...rest, headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) } });
  }

  async #answer(challenge: string, registry: URL, signal: AbortSignal): Promise<string> {
    const found = await this.find(this.host, this.repository);
    if (/^basic\b/i.test(challenge)) {
      if (found && !found.isIdentityToken) return basic(found);
      throw new NodeosError(`${this.host} asks for a name and a password`, { hint: `skopeo login ${this.host}` });
    }
    const fields = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name.toLowerCase(), value]),
    );
    const { realm = '', service, scope } = fields;
    if (!URL.canParse(realm))
      throw new NodeosError(`${this.host} asks for an unknown login: ${challenge.slice(0, 200)}`);
    const url = new URL(realm);
    // A password is never sent in clear, unless the registry itself is spoken to so.
    if (url.protocol !== 'https:' && !isLoopback(url.hostname) && registry.protocol === 'https:')
      throw new NodeosError(`${this.host} sends its users to ${url.href}, which is not HTTPS`);
    return `Bearer ${await tokenFrom(url, { service, scope }, found, signal)}`;
  }
}

const basic = ({ username, password }: Credentials): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

async function tokenFrom(
  realm: URL,
  asked: { readonly service: string | undefined; readonly scope: string | undefined },
  found: Credentials | undefined,
  signal: AbortSignal,
): Promise<string> {
  const wanted = Object.entries(asked).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const form = new URLSearchParams(wanted);
  let request: Request = { signal };
  const url = new URL(realm);
  if (found?.isIdentityToken) {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', found.password);
    form.set('client_id', 'nodeos');
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    request = { method: 'POST', headers, body: form.toString(), signal };
  } else {
    for (const [name, value] of form) url.searchParams.set(name, value);
    if (found) request = { headers: { authorization: basic(found) }, signal };
  }
  const response = await send(url, request);
  if (!isSuccess(response)) {
    response.destroy();
    const who = found ? 'does not take the name and password' : 'gives no token without a name and a password';
    throw new NodeosError(`${url.host} ${who}: HTTP status ${response.statusCode}`, { hint: 'skopeo login HOST' });
  }
  const tooLong = (): Error => new NodeosError(`the token of ${url.host} is longer than ${MAX_TOKEN} bytes`);
  const answer = objectIn(await collected(response, MAX_TOKEN, tooLong), `the answer of ${url.host}`);
  const token = answer['token'] ?? answer['access_token'];
  if (typeof token === 'string' && token !== '') return token;
  throw new NodeosError(`${url.host} gave no token`);
}
