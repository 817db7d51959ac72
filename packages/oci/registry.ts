/**
 * A repository of a registry.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 *
 * Blobs are never asked for by HEAD: a registry answers with a link to a store that is signed for one method, GET.
 */
import type { Readable } from 'node:stream';
import { collected, NodeosError } from '@nodeos/base';
import type { HttpResponse } from '@nodeos/base/http';
import { sha256Digest, WrongContentError, type Sized } from './digest.js';
import { isLoopback, isSuccess, Login, send, type CredentialsFor, type Request } from './login.js';
import { MANIFEST_TYPES, MAX_MANIFEST, objectIn, type Document } from './model.js';
import { endpointOf } from './reference.js';
import type { OpenBlob } from './source.js';

/** Links that are remembered. */
const MAX_LINKS = 1024;
const MAX_TAGS = 10_000;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Registries without deletion say 405; some say that the operation is not there. */
const DELETE_ANSWERS: ReadonlyMap<number, 'deleted' | 'missing' | 'refused'> = new Map([
  [200, 'deleted'],
  [202, 'deleted'],
  [204, 'deleted'],
  [404, 'missing'],
  [405, 'refused'],
  [501, 'refused'],
]);

export interface RegistryOptions {
  /** Without TLS. Default: only on the loopback. */
  readonly isPlain?: boolean;
  /** Default: from the files of containers' tools and of Docker. */
  readonly credentials?: CredentialsFor;
}

/** An answer of a registry that is no success. */
export class RegistryError extends NodeosError {
  constructor(
    message: string,
    readonly status: number,
    /** Whether another try may help. */
    readonly isTransient: boolean,
    hint?: string,
  ) {
    super(`${message}: HTTP status ${status}`, hint === undefined ? {} : { hint });
  }
}

export class Repository {
  readonly name: string;
  readonly #root: string;
  readonly #login: Login;
  /** Where blobs were last, by digest, if that is on another host. */
  readonly #links = new Map<string, URL>();

  constructor(
    readonly host: string,
    readonly repository: string,
    { isPlain, credentials }: RegistryOptions = {},
  ) {
    const endpoint = endpointOf(host);
    const { hostname } = new URL(`http://${endpoint}`);
    this.#root = `${(isPlain ?? isLoopback(hostname)) ? 'http' : 'https'}://${endpoint}/v2/${repository}`;
    this.#login = new Login(host, repository, credentials);
    this.name = `${host}/${repository}`;
  }

  /**
   * @param reference a tag or a digest
   * @returns undefined if it is not there
   * @throws NodeosError if it is longer than 4 MiB, or the registry refuses it
   */
  async manifest(reference: string, signal: AbortSignal): Promise<Document | undefined> {
    const response = await this.#ask(`/manifests/${reference}`, {
      headers: { accept: MANIFEST_TYPES.join(', ') },
      signal,
    });
    if (response.statusCode === 404) {
      response.destroy();
      return undefined;
    }
    expectSuccess(response, `${this.name}: the manifest of ${reference}`);
    const tooLong = (): Error =>
      new NodeosError(`${this.name}: the manifest of ${reference} is longer than ${MAX_MANIFEST} bytes`);
    const bytes = await collected(response, MAX_MANIFEST, tooLong);
    const mediaType = (response.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
    return { bytes, mediaType };
  }

  /**
   * A whole blob is asked of the registry each time. Parts of one are read where the registry has last sent us, until that
   * place refuses: the link has expired.
   * @param length bytes that are wanted, or all behind the offset; a registry without ranges sends more
   * @throws RegistryError; WrongContentError if what is sent cannot be a part of the blob
   */
  async blob({ digest, size }: Sized, offset: number, signal: AbortSignal, length?: number): Promise<OpenBlob> {
    const end = length === undefined ? '' : offset + length - 1;
    const isPart = offset > 0 || (length !== undefined && length > 0 && length < size);
    const headers: Record<string, string> = isPart ? { range: `bytes=${offset}-${end}` } : {};
    const response =
      (length === undefined ? undefined : await this.#askLink(digest, { headers, signal })) ??
      (await this.#ask(`/blobs/${digest}`, { headers, signal }));
    expectSuccess(response, `${this.name}: the blob ${digest}`);
    this.#remember(digest, response.from);
    const start = startOf(response);
    if (start === undefined || start > offset || (start < offset && start !== 0)) {
      response.destroy();
      throw new WrongContentError(
        `${this.name}: the blob ${digest} was asked for from byte ${offset} of ${size}, and came from ${start}`,
      );
    }
    return { offset: start, body: response };
  }

  /** Whether the repository has a blob. A link to it, which is not followed, says so as well. */
  async hasBlob(digest: string, signal: AbortSignal): Promise<boolean> {
    const response = await this.#ask(`/blobs/${digest}`, {
      headers: { range: 'bytes=0-0' },
      isFollowed: false,
      signal,
    });
    response.destroy();
    // A blob without bytes has no first one.
    return response.statusCode < 400 || response.statusCode === 416;
  }

  /** Stores a blob, unless it is there. @throws RegistryError */
  async putBlob(
    { digest, size }: Sized,
    open: () => Readable | Uint8Array,
    signal: AbortSignal,
  ): Promise<'stored' | 'present'> {
    if (await this.hasBlob(digest, signal)) return 'present';
    const begun = await this.#ask('/blobs/uploads/', { method: 'POST', headers: { 'content-length': '0' }, signal });
    begun.destroy();
    const { location } = begun.headers;
    if (begun.statusCode !== 202 || typeof location !== 'string') throw refusal(begun, `${this.name} takes no blobs`);
    const to = new URL(location, this.#root);
    to.searchParams.set('digest', digest);
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
    // Where blobs go may be another host, which has no business with the credentials.
    const isOwn = to.origin === new URL(this.#root).origin;
    const request: Request = { method: 'PUT', headers, body: open(), signal };
    finish(
      await (isOwn ? this.#login.request(to, request) : send(to, request)),
      `${this.name} does not take ${digest}`,
    );
    return 'stored';
  }

  /** @param reference a tag, or the document's digest. @throws RegistryError */
  async putManifest(reference: string, { bytes, mediaType }: Document, signal: AbortSignal): Promise<string> {
    const headers = { 'content-type': mediaType };
    const response = await this.#ask(`/manifests/${reference}`, { method: 'PUT', headers, body: bytes, signal });
    finish(response, `${this.name} does not take the manifest ${reference}`);
    return sha256Digest(bytes);
  }

  /**
   * All tags.
   * @throws RegistryError if there is no such repository, or it does not list; NodeosError for more than 10,000 tags, or
   * for a next page elsewhere
   */
  async tags(signal: AbortSignal): Promise<string[]> {
    const what = `${this.name}: the list of tags`;
    const tags = new Set<string>();
    let page: string | undefined = '/tags/list?n=1000';
    for (let pages = 0; page !== undefined; pages++) {
      if (tags.size > MAX_TAGS || pages > MAX_TAGS) throw new NodeosError(`${what} is longer than ${MAX_TAGS}`);
      const response = await this.#ask(page, { headers: { accept: 'application/json' }, signal });
      expectSuccess(response, what);
      const tooLong = (): Error => new NodeosError(`${what} has a page of more than ${MAX_MANIFEST} bytes`);
      const answer = objectIn(await collected(response, MAX_MANIFEST, tooLong), what);
      const found: unknown = answer['tags'] ?? [];
      if (!Array.isArray(found)) throw new NodeosError(`${what} is no list`);
      for (const tag of found) if (typeof tag === 'string' && TAG.test(tag)) tags.add(tag);
      page = this.#nextPage(response, what);
    }
    return [...tags].sort();
  }

  /**
   * Deletes a manifest, and every tag that it has.
   * @param digest never a tag: registries need not delete those
   * @returns `refused` if the registry deletes nothing, which it need not
   * @throws RegistryError for any other refusal
   */
  async deleteManifest(digest: string, signal: AbortSignal): Promise<'deleted' | 'missing' | 'refused'> {
    const response = await this.#ask(`/manifests/${digest}`, { method: 'DELETE', signal });
    response.destroy();
    const said = DELETE_ANSWERS.get(response.statusCode);
    if (said) return said;
    throw refusal(response, `${this.name} does not delete the manifest ${digest}`);
  }

  /** A page is of the same list, whatever a registry says. */
  #nextPage({ headers }: HttpResponse, what: string): string | undefined {
    const [, link] = /<([^>]{1,4096})>\s*;\s*rel="?next"?/i.exec(String(headers['link'] ?? '')) ?? [];
    if (link === undefined) return undefined;
    const list = new URL(`${this.#root}/tags/list`);
    const next = URL.canParse(link, list.href) ? new URL(link, list.href) : undefined;
    // Behind a proxy a registry may know itself by another name, so only the path is compared.
    if (next?.pathname === list.pathname) return `/tags/list${next.search}`;
    throw new NodeosError(`${what} goes on elsewhere: ${link.slice(0, 200)}`);
  }

  /** @returns undefined if there is no link, or it is of no use any more */
  async #askLink(digest: string, request: Request): Promise<HttpResponse | undefined> {
    const link = this.#links.get(digest);
    if (!link) return undefined;
    const response = await send(link, request).catch(() => undefined);
    if (response && isSuccess(response)) return response;
    response?.destroy();
    request.signal.throwIfAborted();
    this.#links.delete(digest);
    return undefined;
  }

  #remember(digest: string, from: URL): void {
    if (from.origin === new URL(this.#root).origin) return;
    this.#links.set(digest, from);
    for (const [oldest] of this.#links) if (this.#links.size > MAX_LINKS) this.#links.delete(oldest);
  }

  #ask(path: string, request: Request): Promise<HttpResponse> {
    return this.#login.request(new URL(this.#root + path), request);
  }
}

/** Where the sent part begins. @returns undefined if the server does not say */
function startOf({ statusCode, headers }: HttpResponse): number | undefined {
  if (statusCode !== 206) return 0;
  const [, start] = /^bytes (\d+)-/.exec(String(headers['content-range'])) ?? [];
  return start === undefined ? undefined : Number(start);
}

function expectSuccess(response: HttpResponse, what: string): void {
  if (isSuccess(response)) return;
  response.destroy();
  throw refusal(response, what);
}

function finish(response: HttpResponse, what: string): void {
  response.destroy();
  if (!isSuccess(response)) throw refusal(response, what);
}

const TRANSIENT: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** A store behind a redirect that refuses has got an expired link: the registry gives another one. */
function refusal(response: HttpResponse, what: string): RegistryError {
  const { statusCode: status } = response;
  const isElsewhere = !response.from.pathname.startsWith('/v2/');
  const hint =
    status === 401 || status === 403
      ? `skopeo login ${response.from.host}, if you may read it`
      : status === 404
        ? 'is the name right?'
        : undefined;
  return new RegistryError(what, status, TRANSIENT.has(status) || (isElsewhere && status < 500), hint);
}
