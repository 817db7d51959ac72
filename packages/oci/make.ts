/**
 * Makes an image of trees: a layout in an archive. The same trees make the same bytes, with the same version of zlib.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { writeTar, type Entry, type Tree } from '@nodeos/tree';
import { archiveEntries, type StoredBlob } from './archive-entries.js';
import { sha256Digest } from './digest.js';
import { TYPES, type Descriptor, type Execution, type Platform } from './model.js';

export interface NewLayer {
  /** Shown by tools in the history of the image. */
  readonly name: string;
  readonly tree: Tree | Iterable<Entry>;
}

export interface NewImage {
  readonly platform: Platform;
  readonly config: Partial<Omit<Execution, 'ExposedPorts'>> & { readonly ExposedPorts?: readonly string[] };
  /** From the lowest to the highest. */
  readonly layers: readonly NewLayer[];
}

export interface MakeOptions {
  /** A folder for layers, until they are in the archive. */
  readonly work: string;
  readonly signal: AbortSignal;
  /** The name of the image in its layout. */
  readonly name?: string;
}

/** A layer as it is stored, and the digest of it without compression. */
interface Packed extends StoredBlob {
  readonly diffId: string;
}

const PIECE = 1 << 20;
/** Images have times; this one says nothing about when it was made. */
const CREATED = '1970-01-01T00:00:00Z';

/**
 * Writes an `oci-archive:`.
 * @returns the digest of its manifest
 * @throws the errors of `writeTar`
 */
export async function makeImage(
  { platform, config, layers }: NewImage,
  path: string,
  options: MakeOptions,
): Promise<string> {
  const packed: Packed[] = [];
  for (const [index, { tree }] of layers.entries())
    packed.push(await pack(tree, join(options.work, `layer-${index}`), options.signal));
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  const { ExposedPorts = [], ...run } = config;
  const ports =
    ExposedPorts.length === 0 ? {} : { ExposedPorts: Object.fromEntries(ExposedPorts.map((port) => [port, {}])) };
  const configBytes = json({
    created: CREATED,
    ...{
      architecture: platform.architecture,
      os: platform.os,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    },
    config: { ...run, ...ports },
    rootfs: { type: 'layers', diff_ids: packed.map(({ diffId }) => diffId) },
    history: layers.map(({ name }) => ({ created: CREATED, created_by: name })),
  });
  const described: Descriptor = {
    mediaType: TYPES.config,
    digest: sha256Digest(configBytes),
    size: configBytes.length,
  };
  const manifest = json({
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: described,
    layers: packed.map(({ descriptor }) => descriptor),
  });
  const document = { mediaType: TYPES.manifest, digest: sha256Digest(manifest), size: manifest.length };
  const inMemory = (descriptor: Descriptor, bytes: Buffer): StoredBlob => ({ descriptor, open: () => memory(bytes) });
  await writeTar(
    archiveEntries(document, [...packed, inMemory(described, configBytes), inMemory(document, manifest)], options.name),
    path,
  );
  for (const index of layers.keys()) await rm(join(options.work, `layer-${index}.gz`));
  return document.digest;
}

async function* memory(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

async function pack(tree: NewLayer['tree'], path: string, signal: AbortSignal): Promise<Packed> {
  const [plain, gzip] = [`${path}.tar`, `${path}.gz`];
  await writeTar(tree, plain);
  const diffId = await digestOfFile(plain);
  await pipeline(
    createReadStream(plain, { highWaterMark: PIECE }),
    createGzip({ level: 6, chunkSize: PIECE }),
    createWriteStream(gzip),
    { signal },
  );
  await rm(plain);
  const { digest, size } = await digestOfFile(gzip);
  return {
    diffId: diffId.digest,
    descriptor: { mediaType: TYPES.gzipLayer, digest, size },
    open: () => createReadStream(gzip, { highWaterMark: PIECE }),
  };
}

async function digestOfFile(path: string): Promise<{ readonly digest: string; readonly size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const bytes of createReadStream(path, { highWaterMark: PIECE }) as AsyncIterable<Buffer>) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}
