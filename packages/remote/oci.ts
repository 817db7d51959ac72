/**
 * A registry of container images: an artifact for each output, by a tag.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
 */
import { createReadStream } from 'node:fs';
import { NodeosError, sha256, UsageError } from '@nodeos/base';
import type { HttpResponse } from '@nodeos/base/http';
import type { OutputId, RemoteCache } from '@nodeos/engine';
import { Session } from './oci-session.js';
import { bodyOf, isSuccess, textOf, type Request } from './request.js';
import type { Content } from './store.js';

const TYPES = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  artifact: 'application/vnd.nodeos.output.v1',
  signed: 'application/vnd.nodeos.manifest.v1+json',
  contents: 'application/vnd.nodeos.contents.v1+br',
} as const;
const EMPTY = Buffer.from('{}');
const MAX_ANSWER = 4 << 20;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** @param url `oci://HOST[:PORT]/REPOSITORY`; a registry on the loopback is spoken to without TLS */
export function oci(url: URL): RemoteCache {
  const repository = url.pathname.replace(/^\/|\/$/g, '');
  if (url.host === '' || !/^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$/.test(repository))
    throw new UsageError(`${url.href}: expected oci://REGISTRY/REPOSITORY`);
  const isLoopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  const root = `${isLoopback ? 'http' : 'https'}://${url.host}/v2/${repository}`;
  const session = new Session(url.host);
  const ask = (path: string, request: Request): Promise<HttpResponse> => session.request(new URL(root + path), request);

  const put = async (content: Content, digest: string, signal: AbortSignal): Promise<void> => {
    const there = await ask(`/blobs/${digest}`, { method: 'HEAD', signal });
    there.destroy();
    if (isSuccess(there)) return;
    const begun = await ask('/blobs/uploads/', { method: 'POST', headers: { 'content-length': '0' }, signal });
    begun.destroy();
    const location = begun.headers['location'];
    if (begun.statusCode !== 202 || typeof location !== 'string')
      throw new NodeosError(`it takes no blobs: HTTP status ${begun.statusCode}`);
    const to = new URL(location, root);
    to.searchParams.set('digest', digest);
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(content.size) };
    expectSuccess(await session.request(to, { method: 'PUT', headers, body: content.open(), signal }), digest);
  };

  return {
    name: `oci://${url.host}/${repository}`,
    async manifest(id, signal) {
      const response = await ask(`/manifests/${tagOf(id)}`, { headers: { accept: TYPES.manifest }, signal });
      if (response.statusCode === 404) return bodyOf(response);
      const digest = signedDigest(await textOf(response, MAX_ANSWER));
      return bodyOf(await ask(`/blobs/${digest}`, { signal }));
    },
    contents: async (_, digest, signal) => bodyOf(await ask(`/blobs/sha256:${digest}`, { signal })),
    async push(id, { manifest, contents }, signal) {
      const signed = descriptor(TYPES.signed, manifest);
      const packed = { mediaType: TYPES.contents, digest: `sha256:${contents.sha256}`, size: contents.size };
      const config = descriptor(TYPES.empty, EMPTY);
      await put({ size: contents.size, open: () => createReadStream(contents.path) }, packed.digest, signal);
      await put({ size: manifest.length, open: () => manifest }, signed.digest, signal);
      await put({ size: EMPTY.length, open: () => EMPTY }, config.digest, signal);
      const text = JSON.stringify({
        ...{ schemaVersion: 2, mediaType: TYPES.manifest, artifactType: TYPES.artifact },
        ...{ config, layers: [signed, packed] },
      });
      const headers = { 'content-type': TYPES.manifest };
      const tag = tagOf(id);
      expectSuccess(await ask(`/manifests/${tag}`, { method: 'PUT', headers, body: text, signal }), tag);
    },
  };
}

function expectSuccess(response: HttpResponse, what: string): void {
  const { statusCode } = response;
  response.destroy();
  if (!isSuccess(response)) throw new NodeosError(`it does not take ${what}: HTTP status ${statusCode}`);
}

/** A tag has 128 characters at most; the key alone has 64. */
function tagOf({ step, target, key }: OutputId): string {
  const tag = `${step}-${target}-${key}`;
  return tag.length <= 128 ? tag : sha256(tag);
}

const descriptor = (mediaType: string, bytes: Uint8Array): Descriptor => ({
  mediaType,
  digest: `sha256:${sha256(bytes)}`,
  size: bytes.length,
});

/** The digest of our signed manifest in the registry's. @throws NodeosError if it has none */
function signedDigest(text: string): string {
  const { layers } = JSON.parse(text) as { layers?: unknown };
  const found = (Array.isArray(layers) ? (layers as Partial<Descriptor>[]) : []).find(
    ({ mediaType }) => mediaType === TYPES.signed,
  );
  if (typeof found?.digest === 'string' && /^sha256:[0-9a-f]{64}$/.test(found.digest)) return found.digest;
  throw new NodeosError('what is there under that tag is no output of ours');
}
