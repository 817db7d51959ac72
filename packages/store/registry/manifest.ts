/**
 * An image in a registry of containers: an artifact whose layers are the recipe, its tables of keys, its start list, where
 * its chunks are, and the packs that they are in. The manifest names every pack, also those of earlier versions, so the
 * registry's own collection keeps what is needed.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 */
import { NodeosError, sha256 } from '@nodeos/base';

export const TYPES = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  artifact: 'application/vnd.nodeos.store.image.v1',
  /** Under the tag of an image that was removed, until a collection deletes it. */
  removed: 'application/vnd.nodeos.store.removed.v1',
  recipe: 'application/vnd.nodeos.store.recipe.v1',
  keys: 'application/vnd.nodeos.store.keys.v1',
  start: 'application/vnd.nodeos.store.start.v1',
  index: 'application/vnd.nodeos.store.index.v1',
  pack: 'application/vnd.nodeos.store.pack.v1',
} as const;

export const EMPTY = Buffer.from('{}');
/** In bytes. A registry need not take a larger one. */
export const MAX_MANIFEST = 4 << 20;
const TENANT = 'dev.nodeos.store.tenant';
const REPLACES = 'dev.nodeos.store.replaces';
const CREATED = 'org.opencontainers.image.created';
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export interface Blob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

interface Descriptor extends Blob {
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * What had the tag before. A registry lists no manifests without tags, so this is how a collection finds those that
 * were replaced, and since when.
 */
export interface Lineage {
  /** Digest of the manifest that had the tag before. */
  readonly replaces: string | undefined;
  /** Milliseconds of the epoch; undefined for manifests of programs that do not say it. */
  readonly created: number | undefined;
}

export interface ImageManifest extends Lineage {
  readonly recipe: Blob;
  readonly index: Blob;
  /** By tenant. */
  readonly keys: ReadonlyMap<string, Blob>;
  readonly start: Blob | undefined;
  /** The index counts them from 0. */
  readonly packs: readonly Blob[];
}

export const blobOf = (bytes: Uint8Array): Blob => ({ digest: `sha256:${sha256(bytes)}`, size: bytes.length });

const typed = (mediaType: string, { digest, size }: Blob): Descriptor => ({ mediaType, digest, size });

/** @throws NodeosError if it is longer than a manifest may be */
export function encodeManifest({ recipe, index, keys, start, packs, ...lineage }: ImageManifest, name: string): Buffer {
  const layers: Descriptor[] = [
    typed(TYPES.recipe, recipe),
    typed(TYPES.index, index),
    ...[...keys].map(([tenant, blob]) => ({ ...typed(TYPES.keys, blob), annotations: { [TENANT]: tenant } })),
    ...(start ? [typed(TYPES.start, start)] : []),
    ...packs.map((pack) => typed(TYPES.pack, pack)),
  ];
  const bytes = encoded(TYPES.artifact, layers, lineage);
  if (bytes.length < MAX_MANIFEST) return bytes;
  throw new NodeosError(
    `${name}: a manifest of ${bytes.length} bytes, because its chunks are in ${packs.length} packs`,
    {
      hint: 'push it under another name into another repository, where they become new packs',
    },
  );
}

/** What is under the tag of an image that was removed. */
export const encodeRemoved = (lineage: Lineage): Buffer =>
  encoded(TYPES.removed, [typed(TYPES.empty, blobOf(EMPTY))], lineage);

function encoded(artifactType: string, layers: readonly Descriptor[], { replaces, created }: Lineage): Buffer {
  const annotations = {
    ...(created !== undefined && { [CREATED]: new Date(created).toISOString() }),
    ...(replaces !== undefined && { [REPLACES]: replaces }),
  };
  return Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: TYPES.manifest, artifactType },
      ...{ config: typed(TYPES.empty, blobOf(EMPTY)), layers },
      ...(Object.keys(annotations).length > 0 && { annotations }),
    }),
  );
}

/** @returns the lineage of what is under the tag of a removed image; undefined if it is anything else */
export function decodeRemoved(bytes: Uint8Array, name: string): Lineage | undefined {
  const fields = fieldsOf(bytes, name);
  return fields.artifactType === TYPES.removed ? lineageIn(fields) : undefined;
}

/** Whether it is the manifest of an image of a store. A repository may have others. */
export function isImage(bytes: Uint8Array, name: string): boolean {
  return fieldsOf(bytes, name).artifactType === TYPES.artifact;
}

/** @throws NodeosError if it is no image of a store */
export function decodeManifest(bytes: Uint8Array, name: string): ImageManifest {
  const fields = fieldsOf(bytes, name);
  const layers = layersIn(fields, name);
  const first = (type: string): Descriptor | undefined => layers.find(({ mediaType }) => mediaType === type);
  const [recipe, index] = [first(TYPES.recipe), first(TYPES.index)];
  if (!recipe || !index) throw new NodeosError(`${name}: this is no image of a store of chunks`);
  const keys = layers.filter(({ mediaType }) => mediaType === TYPES.keys);
  return {
    recipe,
    index,
    keys: new Map(keys.map((layer) => [layer.annotations?.[TENANT] ?? '', layer])),
    start: first(TYPES.start),
    packs: layers.filter(({ mediaType }) => mediaType === TYPES.pack),
    ...lineageIn(fields),
  };
}

interface Fields {
  readonly artifactType?: unknown;
  readonly layers?: unknown;
  readonly annotations?: Readonly<Record<string, unknown>> | null;
}

function fieldsOf(bytes: Uint8Array, name: string): Fields {
  try {
    return (JSON.parse(Buffer.from(bytes).toString()) as Fields | null) ?? {};
  } catch (error) {
    throw new NodeosError(`${name}: its manifest is no JSON`, { cause: error });
  }
}

function lineageIn({ annotations }: Fields): Lineage {
  const { [REPLACES]: replaces, [CREATED]: created } = annotations ?? {};
  const time = typeof created === 'string' ? Date.parse(created) : NaN;
  return {
    replaces: typeof replaces === 'string' && DIGEST.test(replaces) ? replaces : undefined,
    created: Number.isNaN(time) ? undefined : time,
  };
}

function layersIn({ layers }: Fields, name: string): Descriptor[] {
  const list = Array.isArray(layers) ? (layers as (Partial<Descriptor> | null)[]) : [];
  return list.map((layer) => {
    const { mediaType, digest, size, annotations } = layer ?? {};
    if (typeof mediaType !== 'string' || typeof digest !== 'string' || !DIGEST.test(digest))
      throw new NodeosError(`${name}: its manifest has a layer without a digest`);
    if (!Number.isSafeInteger(size) || Number(size) < 0)
      throw new NodeosError(`${name}: its manifest has a layer without a size`);
    return { mediaType, digest, size: Number(size), ...(annotations && { annotations }) };
  });
}
