/**
 * Logs in to a registry when it asks for that: by a token, or by name and password. Credentials come from the file that
 * `docker login`, `podman login` and `skopeo login` write.
 * https://distribution.github.io/distribution/spec/auth/token/
 */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf, NodeosError } from '@nodeos/base';
import type { HttpResponse } from '@nodeos/base/http';
import { request, textOf, type Request } from './request.js';

const MAX_TOKEN = 1 << 20;

export class Session {
  #authorization: string | undefined;

  constructor(private readonly host: string) {}

  async request(url: URL, { headers = {}, ...rest }: Request): Promise<HttpResponse> {
    const send = (): Promise<HttpResponse> => {
      const own = this.#authorization === undefined ? {} : { authorization: this.#authorization };
      return request(url, { ...rest, headers: { ...headers, ...own } });
    };
    const first = await send();
    const challenge = first.headers['www-authenticate'];
    // A stream is sent once. It is never the first request, so the session has logged in before.
    if (first.statusCode !== 401 || typeof challenge !== 'string') return first;
    first.destroy();
    this.#authorization = await this.#answer(challenge, rest.signal);
    return send();
  }

  async #answer(challenge: string, signal: AbortSignal): Promise<string> {
    const login = await credentialsFor(this.host);
    const basic = login === undefined ? undefined : `Basic ${login}`;
    if (/^basic /i.test(challenge)) {
      if (basic !== undefined) return basic;
      throw new NodeosError(`${this.host} asks for a name and a password`, { hint: `docker login ${this.host}` });
    }
    const fields = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name.toLowerCase(), value]),
    );
    const { realm, service, scope } = fields;
    if (realm === undefined || !URL.canParse(realm)) throw new NodeosError(`${this.host} asks for an unknown login`);
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    if (scope !== undefined) url.searchParams.set('scope', scope);
    const headers: Record<string, string> = basic === undefined ? {} : { authorization: basic };
    const answer = JSON.parse(await textOf(await request(url, { headers, signal }), MAX_TOKEN)) as object;
    const { token, access_token: other } = answer as { token?: unknown; access_token?: unknown };
    const given = token ?? other;
    if (typeof given !== 'string') throw new NodeosError(`${url.host} gave no token`);
    return `Bearer ${given}`;
  }
}

/** @returns name and password in Base64, as the file has them */
async function credentialsFor(host: string): Promise<string | undefined> {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, DOCKER_CONFIG } = process.env;
  const files = [
    REGISTRY_AUTH_FILE,
    XDG_RUNTIME_DIR && join(XDG_RUNTIME_DIR, 'containers/auth.json'),
    join(DOCKER_CONFIG ?? join(homedir(), '.docker'), 'config.json'),
  ];
  for (const file of files) {
    if (!file) continue;
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return '{}';
      throw error;
    });
    const { auths } = JSON.parse(text) as { auths?: Record<string, { auth?: string } | undefined> };
    const found = auths?.[host]?.auth ?? auths?.[`https://${host}`]?.auth;
    if (found !== undefined) return found;
  }
  return undefined;
}
