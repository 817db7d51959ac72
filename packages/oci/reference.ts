/**
 * Names of images, as skopeo writes them:
 *
 *     docker://[HOST[:PORT]/]NAME[:TAG][@DIGEST]     a registry
 *     oci:FOLDER[:NAME]                              a layout
 *     oci-archive:FILE[:NAME]                        a layout in a tar archive
 *     docker-archive:FILE[:NAME:TAG]                 what `docker save` writes
 *
 * https://github.com/containers/image/blob/main/docs/containers-transports.5.md
 */
import { UsageError } from '@nodeos/base';
import { parseDigest } from './digest.js';

export interface RegistryReference {
  readonly kind: 'docker';
  /** `HOST[:PORT]` */
  readonly host: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

export interface FileReference {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive';
  readonly path: string;
  /** Which of its images; it need not be said if there is only one. */
  readonly image?: string;
}

export type Reference = RegistryReference | FileReference;

const HUB = 'docker.io';
const FILES: readonly FileReference['kind'][] = ['oci', 'oci-archive', 'docker-archive'];
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

export const REFERENCE_EXAMPLES: readonly string[] = [
  'docker://debian:12',
  'docker://127.0.0.1:5000/app@sha256:…',
  'oci:FOLDER:NAME',
  'oci-archive:FILE',
  'docker-archive:FILE',
];

/** @throws UsageError */
export function parseReference(text: string): Reference {
  const [, scheme = '', rest = ''] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  if (scheme === 'docker' && rest.startsWith('//')) return registryReference(rest.slice(2), text);
  const kind = FILES.find((one) => one === scheme);
  if (!kind)
    throw new UsageError(`${text}: no image of a known kind`, { hint: `expected ${REFERENCE_EXAMPLES.join(', ')}` });
  const colon = rest.indexOf(':');
  const [path, image] = colon < 0 ? [rest, undefined] : [rest.slice(0, colon), rest.slice(colon + 1)];
  if (path === '' || path.includes('\0') || image === '') throw new UsageError(`${text}: expected ${kind}:PATH[:NAME]`);
  return { kind, path, ...(image === undefined ? {} : { image }) };
}

function registryReference(name: string, text: string): RegistryReference {
  const refuse = (why: string): never => {
    throw new UsageError(`${text}: ${why}`, { hint: 'expected docker://[HOST[:PORT]/]NAME[:TAG][@DIGEST]' });
  };
  const at = name.indexOf('@');
  const digest = at < 0 ? undefined : name.slice(at + 1);
  if (digest !== undefined && !parseDigest(digest)) refuse(`${JSON.stringify(digest)} is no digest`);
  const plain = at < 0 ? name : name.slice(0, at);
  const colon = plain.lastIndexOf(':');
  const hasTag = colon > plain.lastIndexOf('/');
  const tag = hasTag ? plain.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) refuse(`${JSON.stringify(tag)} is no tag`);
  const { host, repository } = splitHost(hasTag ? plain.slice(0, colon) : plain);
  if (!HOST.test(host)) refuse(`${JSON.stringify(host)} is no host`);
  if (!REPOSITORY.test(repository) || repository.length > 255) refuse(`${JSON.stringify(repository)} is no name`);
  const isLatest = tag === undefined && digest === undefined;
  return {
    kind: 'docker',
    host,
    repository,
    ...(tag !== undefined ? { tag } : isLatest ? { tag: 'latest' } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The part before the first `/` is a host if it could be no name: a dot, a port, or `localhost`. */
function splitHost(name: string): { host: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(0, slash));
  if (slash >= 0 && (/[.:]/.test(first) || first === 'localhost')) {
    const repository = name.slice(slash + 1);
    const host = first === 'index.docker.io' ? HUB : first;
    return { host, repository: host === HUB && !repository.includes('/') ? `library/${repository}` : repository };
  }
  return { host: HUB, repository: slash < 0 ? `library/${name}` : name };
}

/** Where the registry of that name really is. */
export const endpointOf = (host: string): string => (host === HUB ? 'registry-1.docker.io' : host);

export function referenceText(reference: Reference): string {
  if (reference.kind !== 'docker')
    return `${reference.kind}:${reference.path}${reference.image === undefined ? '' : `:${reference.image}`}`;
  const { host, repository, tag, digest } = reference;
  return `docker://${host}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}
