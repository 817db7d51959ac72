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

export interface Blob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

interface Descriptor extends Blob {
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageManifest {
  readonly recipe: Blob;
  readonly index: Blob;
  /** By tenant. */
  readonly keys: ReadonlyMap<string, Blob>;
  readonly start: Blob | undefined;
  /** The index counts them from 0. */
  readonly packs: readonly Blob[];
}

export const blobOf = (bytes: Uint8Array): Blob => ({ digest: `sha256:${sha256(bytes)}`, size: bytes.length });

/** @throws NodeosError if it is longer than a manifest may be */
export function encodeManifest({ recipe, index, keys, start, packs }: ImageManifest, name: string): Buffer {
  const typed = (mediaType: string, { digest, size }: Blob): Descriptor => ({ mediaType, digest, size });
  const layers: Descriptor[] = [
    typed(TYPES.recipe, recipe),
    typed(TYPES.index, index),
    ...[...keys].map(([tenant, blob]) => ({ ...typed(TYPES.keys, blob), annotations: { [TENANT]: tenant } })),
    ...(start ? [typed(TYPES.start, start)] : []),
    ...packs.map((pack) => typed(TYPES.pack, pack)),
  ];
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: TYPES.manifest, artifactType: TYPES.artifact },
      ...{ config: typed(TYPES.empty, blobOf(EMPTY)), layers },
    }),
  );
  if (bytes.length < MAX_MANIFEST) return bytes;
  throw new NodeosError(
    `${name}: a manifest of ${bytes.length} bytes, because its chunks are in ${packs.length} packs`,
    {
      hint: 'push it under another name into another repository, where they become new packs',
    },
  );
}

/** @throws NodeosError if it is no image of a store */
export function decodeManifest(bytes: Uint8Array, name: string): ImageManifest {
  const layers = layersIn(bytes, name);
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
  };
}

function layersIn(bytes: Uint8Array, name: string): Descriptor[] {
  let layers: unknown;
  try {
    ({ layers } = JSON.parse(Buffer.from(bytes).toString()) as { layers?: unknown });
  } catch (error) {
    throw new NodeosError(`${name}: its manifest is no JSON`, { cause: error });
  }
  const list = Array.isArray(layers) ? (layers as (Partial<Descriptor> | null)[]) : [];
  return list.map((layer) => {
    const { mediaType, digest, size, annotations } = layer ?? {};
    if (typeof mediaType !== 'string' || typeof digest !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(digest))
      throw new NodeosError(`${name}: its manifest has a layer without a digest`);
    if (!Number.isSafeInteger(size) || Number(size) < 0)
      throw new NodeosError(`${name}: its manifest has a layer without a size`);
    return { mediaType, digest, size: Number(size), ...(annotations && { annotations }) };
  });
}
