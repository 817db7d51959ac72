/**
 * A registry of container images: an artifact for each output, by a tag.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
 */
import { createReadStream } from 'node:fs';
import { NodeosError, sha256, UsageError } from '@nodeos/base';
import type { OutputId, RemoteCache } from '@nodeos/engine';
import { parseReference, Repository, RegistryError, sha256Digest, TYPES as OCI, type Descriptor } from '@nodeos/oci';

const TYPES = {
  artifact: 'application/vnd.nodeos.output.v1',
  signed: 'application/vnd.nodeos.manifest.v1+json',
  contents: 'application/vnd.nodeos.contents.v1+br',
} as const;
const EMPTY = Buffer.from('{}');

/** @param url `oci://HOST[:PORT]/REPOSITORY`; a registry on the loopback is spoken to without TLS */
export function oci(url: URL): RemoteCache {
  const repository = repositoryOf(url);
  const put = async (bytes: Uint8Array, { digest, size }: Descriptor, signal: AbortSignal): Promise<void> => {
    await repository.putBlob({ digest, size }, () => bytes, signal);
  };
  return {
    name: `oci://${repository.name}`,
    async manifest(id, signal) {
      const found = await repository.manifest(tagOf(id), signal);
      if (!found) return undefined;
      return blobOf(repository, signedDigest(found.bytes.toString()), signal);
    },
    contents: (_, digest, signal) => blobOf(repository, `sha256:${digest}`, signal),
    async push(id, { manifest, contents }, signal) {
      const signed = descriptor(TYPES.signed, manifest);
      const packed = { mediaType: TYPES.contents, digest: `sha256:${contents.sha256}`, size: contents.size };
      const config = descriptor(OCI.empty, EMPTY);
      await repository.putBlob(packed, () => createReadStream(contents.path), signal);
      await put(manifest, signed, signal);
      await put(EMPTY, config, signal);
      const text = JSON.stringify({
        ...{ schemaVersion: 2, mediaType: OCI.manifest, artifactType: TYPES.artifact },
        ...{ config, layers: [signed, packed] },
      });
      await repository.putManifest(tagOf(id), { bytes: Buffer.from(text), mediaType: OCI.manifest }, signal);
    },
  };
}

function repositoryOf(url: URL): Repository {
  try {
    const reference = parseReference(`docker://${url.host}${url.pathname.replace(/\/$/, '')}`);
    if (reference.kind === 'docker' && reference.host === url.host && reference.tag === 'latest')
      return new Repository(reference.host, reference.repository);
  } catch {
    // The message below says what it should be.
  }
  throw new UsageError(`${url.href}: expected oci://REGISTRY/REPOSITORY`);
}

/** @returns undefined if it is not there */
async function blobOf(
  repository: Repository,
  digest: string,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  try {
    return (await repository.blob({ digest, size: 0 }, 0, signal)).body;
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) return undefined;
    throw error;
  }
}

/** A tag has 128 characters at most; the key alone has 64. */
function tagOf({ step, target, key }: OutputId): string {
  const tag = `${step}-${target}-${key}`;
  return tag.length <= 128 ? tag : sha256(tag);
}

const descriptor = (mediaType: string, bytes: Uint8Array): Descriptor => ({
  mediaType,
  digest: sha256Digest(bytes),
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
