/**
 * Manifests, indexes and configurations of images, of the OCI and of Docker (version 2, schema 2). Nothing in them is
 * trusted: what is used is checked, the rest is ignored.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 * https://distribution.github.io/distribution/spec/manifest-v2-2/
 */
import { NodeosError } from '@nodeos/base';
import { parseDigest, type Sized } from './digest.js';

/** Registries must take manifests of 4 MiB, and need not take larger ones. */
export const MAX_MANIFEST = 4 << 20;
/** Bytes of a configuration. The largest ones, with long histories, have some 100 KB. */
export const MAX_CONFIG = 8 << 20;
const MAX_LAYERS = 4096;

export const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  gzipLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** What a registry is asked for. */
export const MANIFEST_TYPES: readonly string[] = [TYPES.index, TYPES.manifest, TYPES.dockerList, TYPES.dockerManifest];

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Descriptor extends Sized {
  readonly mediaType: string;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageIndex {
  readonly manifests: readonly Descriptor[];
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** What a container is started with. */
export interface Execution {
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly User: string;
  readonly WorkingDir: string;
  /** `80/tcp` */
  readonly ExposedPorts: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly StopSignal: string;
}

export interface Config extends Platform {
  readonly created?: string;
  readonly config: Execution;
  /** The digests of the layers, unpacked. */
  readonly diffIds: readonly string[];
}

/** A manifest or an index, as it was stored. */
export interface Document {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** A document whose media type nobody has said but itself, which it need not. @throws NodeosError if it is no JSON object */
export function documentIn(bytes: Buffer, subject: string): Document {
  const { mediaType, manifests } = objectIn(bytes, subject);
  const usual = Array.isArray(manifests) ? TYPES.index : TYPES.manifest;
  return { bytes, mediaType: typeof mediaType === 'string' ? mediaType : usual };
}

/** @throws NodeosError if it is neither */
export function parseDocument({ bytes, mediaType }: Document, subject: string): ImageIndex | Manifest {
  const fields = objectIn(bytes, subject);
  if (fields['schemaVersion'] === 1)
    throw new NodeosError(`${subject} is a manifest of schema 1, which nothing has written since 2017`, {
      hint: 'push the image again, or copy it with another tool first',
    });
  if (fields['schemaVersion'] !== 2) throw new NodeosError(`${subject} is no manifest of an image`);
  // One text must not be read as both: a signature may be for the one, and the image be the other.
  const [isIndex, isManifest] = [Array.isArray(fields['manifests']), Array.isArray(fields['layers'])];
  if (isIndex === isManifest) throw new NodeosError(`${subject} is neither a manifest nor an index`);
  const said = typeof fields['mediaType'] === 'string' ? fields['mediaType'] : mediaType;
  const isSaidIndex = said === TYPES.index || said === TYPES.dockerList;
  if (MANIFEST_TYPES.includes(said) && isSaidIndex !== isIndex)
    throw new NodeosError(`${subject} has the media type ${said}, and is another document`);
  if (isIndex) return { manifests: descriptors(fields['manifests'], `${subject}: manifests`) };
  const config = descriptorOf(fields['config'], `${subject}: config`);
  if (config.size > MAX_CONFIG)
    throw new NodeosError(
      `${subject}: the configuration has ${config.size} bytes, more than the ${MAX_CONFIG} that are read`,
    );
  return { config, layers: descriptors(fields['layers'], `${subject}: layers`) };
}

/** @throws NodeosError if it is no configuration of an image */
export function parseConfig(bytes: Buffer, subject: string): Config {
  const fields = objectIn(bytes, subject);
  const { config, rootfs } = fields;
  const { diff_ids: diffIds } = isObject(rootfs) ? rootfs : {};
  if (!Array.isArray(diffIds))
    throw new NodeosError(`${subject} is no configuration of an image: it has no rootfs.diff_ids`);
  for (const diffId of diffIds as unknown[])
    if (typeof diffId !== 'string' || !parseDigest(diffId))
      throw new NodeosError(`${subject}: rootfs.diff_ids has ${JSON.stringify(diffId)}, which is no digest`);
  const text = textsIn(fields, subject);
  const run = isObject(config) ? config : {};
  const runText = textsIn(run, `${subject}: config`);
  return {
    os: text('os') || 'linux',
    architecture: text('architecture'),
    ...(text('variant') ? { variant: text('variant') } : {}),
    ...(text('created') ? { created: text('created') } : {}),
    diffIds: diffIds as string[],
    config: {
      Env: listIn(run, 'Env', subject),
      Entrypoint: listIn(run, 'Entrypoint', subject),
      Cmd: listIn(run, 'Cmd', subject),
      User: runText('User'),
      WorkingDir: runText('WorkingDir'),
      StopSignal: runText('StopSignal'),
      ExposedPorts: Object.keys(isObject(run['ExposedPorts']) ? run['ExposedPorts'] : {}),
      Labels: mapOf(run['Labels']),
    },
  };
}

function descriptors(list: unknown, subject: string): Descriptor[] {
  if (!Array.isArray(list) || list.length > MAX_LAYERS)
    throw new NodeosError(`${subject}: expected at most ${MAX_LAYERS}`);
  return list.map((one, index) => descriptorOf(one, `${subject}[${index}]`));
}

function descriptorOf(value: unknown, subject: string): Descriptor {
  const fields = isObject(value) ? value : {};
  const { mediaType, digest, size, platform } = fields;
  if (
    typeof digest !== 'string' ||
    !parseDigest(digest) ||
    typeof size !== 'number' ||
    !(Number.isSafeInteger(size) && size >= 0)
  )
    throw new NodeosError(`${subject} is no descriptor: it needs a digest (sha256 or sha512) and a size`);
  const annotations = mapOf(fields['annotations']);
  return {
    mediaType: typeof mediaType === 'string' ? mediaType : '',
    digest,
    size,
    ...(isObject(platform) ? { platform: platformOf(platform) } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}

function platformOf({ os, architecture, variant }: Fields): Platform {
  return {
    os: typeof os === 'string' ? os : '',
    architecture: typeof architecture === 'string' ? architecture : '',
    ...(typeof variant === 'string' && variant !== '' ? { variant } : {}),
  };
}

/** @throws NodeosError if it is no JSON object */
export function objectIn(bytes: Buffer, subject: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new NodeosError(`${subject} is no JSON`, { cause });
  }
  if (isObject(value)) return value;
  throw new NodeosError(`${subject} is no JSON object`);
}

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textsIn =
  (fields: Fields, subject: string) =>
  (name: string): string => {
    const value = fields[name] ?? '';
    if (typeof value === 'string') return value;
    throw new NodeosError(`${subject}: ${name} is no text`);
  };

function listIn(fields: Fields, name: string, subject: string): string[] {
  const value = fields[name] ?? [];
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  throw new NodeosError(`${subject}: config.${name} is no list of texts`);
}

/** Its texts; other values are left out. */
const mapOf = (value: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries(isObject(value) ? value : {}).filter(
      (pair): pair is [string, string] => typeof pair[1] === 'string',
    ),
  );
