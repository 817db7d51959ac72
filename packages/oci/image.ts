/** An image: its manifest and configuration, its layers in the cache, and the tree that they make. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { closing, collected, NodeosError } from '@nodeos/base';
import type { Entry, TarRecord } from '@nodeos/tree';
import { openArchive } from './archive.js';
import type { BlobCache, FetchOptions } from './blob-cache.js';
import { checkBytes, checked, sha256Digest } from './digest.js';
import { layoutFolder, layoutSource } from './layout.js';
import { Merge, type MergeLayer } from './merge.js';
import {
  documentIn,
  MAX_CONFIG,
  parseConfig,
  parseDocument,
  type Config,
  type Document,
  type Manifest,
} from './model.js';
import { choosePlatform, hostPlatform, platformText } from './platform.js';
import type { Platform } from './model.js';
import { parseReference } from './reference.js';
import type { RegistryOptions } from './registry.js';
import { registrySource, type Mirror } from './registry-source.js';
import type { ImageSource } from './source.js';
import { TarFile } from './tar-file.js';

export interface ImageOptions extends RegistryOptions {
  readonly cache: BlobCache;
  readonly signal: AbortSignal;
  /** Which image of an index. Default: Linux on the architecture of this machine. */
  readonly platform?: Platform;
  readonly mirrors?: readonly Mirror[];
}

/** Layers that are fetched and unpacked at once. */
const PARALLEL = 3;
/** Files that are added bring their contents with them. */
const ADDED: MergeLayer<Entry> = {
  subject: 'the files that are added',
  contentOf: (entry) => ({
    ...(entry.host && { host: entry.host }),
    open: (offset = 0) => entry.open?.(offset) ?? Readable.from([]),
  }),
};
/** An index may have indexes in it. */
const MAX_DEPTH = 4;

export class Image {
  constructor(
    readonly source: ImageSource,
    /** As it is stored. */
    readonly document: Document,
    readonly manifest: Manifest,
    /** The file of the configuration, in the cache. */
    readonly configPath: string,
    readonly config: Config,
    private readonly options: ImageOptions,
  ) {}

  get name(): string {
    return this.source.name;
  }

  /** The digest of the manifest. */
  get digest(): string {
    return sha256Digest(this.document.bytes);
  }

  /** Bytes of all layers, as they are stored. */
  get size(): number {
    return this.manifest.layers.reduce((sum, { size }) => sum + size, 0);
  }

  /** Fetches all layers into the cache. @returns their files, in order. @throws the errors of `BlobCache.fetch` */
  fetch(progress?: FetchOptions['progress']): Promise<string[]> {
    const { cache } = this.options;
    return this.#each(progress, (index, options) => cache.fetch(this.source, this.#layer(index), options));
  }

  /** Fetches and unpacks all layers. @returns their files, in order. @throws the errors of `BlobCache.unpack` */
  unpack(progress?: FetchOptions['progress']): Promise<string[]> {
    const { cache } = this.options;
    const { diffIds } = this.config;
    return this.#each(progress, (index, options) =>
      cache.unpack(this.source, this.#layer(index), diffIds[index] ?? '', options),
    );
  }

  /**
   * The merged tree, whose contents stay in the cache, where they are read as long as the tree is not closed.
   * @param added files on top of the layers, as one more layer
   * @throws NodeosError if a layer cannot be fetched, is another one than it should be, or is damaged
   */
  async tree(
    progress?: FetchOptions['progress'],
    added: Iterable<Entry> | AsyncIterable<Entry> = [],
  ): Promise<ImageTree> {
    const { signal } = this.options;
    const paths = await this.unpack(progress);
    const files: TarFile[] = [];
    const close = async (): Promise<void> => {
      await Promise.all(files.map((file) => file.close()));
    };
    const merge = new Merge();
    try {
      for (const [index, path] of paths.entries()) {
        const file = await TarFile.open(path, `${this.name}: the layer ${this.#layer(index).digest}`);
        files.push(file);
        await merge.apply<TarRecord>(file, file.records(signal));
      }
      await merge.apply(ADDED, added);
    } catch (error) {
      await close();
      throw error;
    }
    return { entries: () => merge.entries(), close };
  }

  close(): Promise<void> {
    return this.source.close();
  }

  #layer(index: number): Manifest['layers'][number] {
    const layer = this.manifest.layers[index];
    if (!layer) throw new Error(`${this.name} has no layer ${index}`);
    return layer;
  }

  /** A few at a time. When one fails, those that have not begun do not begin. */
  async #each(
    progress: FetchOptions['progress'],
    work: (index: number, options: FetchOptions) => Promise<string>,
  ): Promise<string[]> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.options.signal, stop.signal]);
    const results: string[] = [];
    const ahead = this.manifest.layers.keys();
    const worker = async (): Promise<void> => {
      for (const index of ahead) {
        signal.throwIfAborted();
        results[index] = await work(index, { signal, ...(progress && { progress }) });
      }
    };
    const failures: unknown[] = [];
    const note = (error: unknown): void => {
      failures.push(error);
      stop.abort(error);
    };
    await Promise.all(Array.from({ length: PARALLEL }, () => worker().catch(note)));
    if (failures.length > 0) throw failures[0];
    return results;
  }
}

export interface ImageTree {
  /** Sorted; a folder comes before what is in it. Can be called any number of times. */
  entries(): Iterable<Entry>;
  close(): Promise<void>;
}

/**
 * Opens an image by its name. Only its manifest and its configuration are fetched.
 * @throws UsageError for a name that is none; NodeosError if there is no such image, or what is there is damaged
 */
export async function openImage(name: string, options: ImageOptions): Promise<Image> {
  const source = await sourceOf(name, options);
  try {
    const document = await choose(source, options);
    const manifest = parseDocument(document, source.name);
    if ('manifests' in manifest) throw new NodeosError(`${source.name} has indexes in indexes, ${MAX_DEPTH} deep`);
    const configPath = await options.cache.fetch(source, manifest.config, options);
    const config = parseConfig(await configIn(configPath, manifest, source.name), `${source.name}: the configuration`);
    if (config.diffIds.length !== manifest.layers.length)
      throw new NodeosError(
        `${source.name}: the manifest has ${manifest.layers.length} layers, and the configuration ${config.diffIds.length}`,
      );
    checkPlatform(config, options.platform, source.name);
    return new Image(source, document, manifest, configPath, config, options);
  } catch (error) {
    return closing(Promise.reject(error as Error), [() => source.close()]);
  }
}

async function sourceOf(name: string, options: ImageOptions): Promise<ImageSource> {
  const reference = parseReference(name);
  if (reference.kind === 'docker') return registrySource(reference, options.mirrors ?? [], options);
  if (reference.kind === 'oci') return layoutSource(reference, layoutFolder(reference.path));
  return openArchive(reference, options.signal);
}

/** From the named manifest or index down to the manifest of one image. Every digest that is known is checked. */
async function choose(source: ImageSource, options: ImageOptions): Promise<Document> {
  const { platform = hostPlatform(), signal } = options;
  const { digest } = source;
  let document =
    digest === undefined
      ? await kept(await source.top(signal), options)
      : await documentOf({ digest }, source.name, () => source.top(signal), options);
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const parsed = parseDocument(document, source.name);
    if (!('manifests' in parsed)) return document;
    const wanted = choosePlatform(parsed, platform, source.name);
    const subject = `${source.name}: the manifest ${wanted.digest}`;
    document = await documentOf(wanted, subject, () => source.manifest(wanted, signal), options);
  }
  return document;
}

/** What a name stands for now. It is kept, so that it is there under its digest too. */
async function kept(document: Document, { cache }: ImageOptions): Promise<Document> {
  await cache.keep(sha256Digest(document.bytes), document.bytes);
  return document;
}

/** What a digest names: as the cache has it, so that nobody is asked, or fetched, checked and kept. */
async function documentOf(
  wanted: { readonly digest: string; readonly size?: number },
  subject: string,
  fetch: () => Promise<Document>,
  { cache }: ImageOptions,
): Promise<Document> {
  const known = await cache.find(wanted.digest);
  if (known && isIntact(known, wanted)) return documentIn(known, subject);
  const document = await fetch();
  checkBytes(document.bytes, wanted, subject);
  await cache.keep(wanted.digest, document.bytes);
  return document;
}

function isIntact(bytes: Buffer, wanted: { readonly digest: string; readonly size?: number }): boolean {
  try {
    checkBytes(bytes, wanted, 'the cache of images');
    return true;
  } catch {
    return false;
  }
}

function configIn(path: string, { config }: Manifest, name: string): Promise<Buffer> {
  const subject = `${name}: the configuration`;
  const tooLong = (): Error => new NodeosError(`${subject} is longer than ${MAX_CONFIG} bytes`);
  return collected(checked(createReadStream(path), config, subject), MAX_CONFIG, tooLong);
}

/** An image without an index is of one platform, which may be another one than was asked for. */
function checkPlatform(config: Config, wanted: Platform | undefined, name: string): void {
  if (!wanted) return;
  if (config.os === wanted.os && config.architecture === wanted.architecture) return;
  throw new NodeosError(`${name} is for ${platformText(config)}, and not for ${platformText(wanted)}`);
}
