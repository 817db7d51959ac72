/** The images of `docker save`: manifest.json names a configuration and layers. The manifest is made from them. */
import { createHash } from 'node:crypto';
import { NodeosError } from '@nodeos/base';
import { sha256Digest } from './digest.js';
import type { LayoutFiles } from './layout.js';
import { MAX_CONFIG, MAX_MANIFEST, parseConfig, TYPES, type Descriptor } from './model.js';
import type { FileReference } from './reference.js';
import type { ImageSource } from './source.js';

const GZIP = Buffer.of(0x1f, 0x8b);

interface Saved {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/** @throws NodeosError if there is no such image in it */
export async function dockerSource(reference: FileReference, files: LayoutFiles): Promise<ImageSource> {
  const name = `${reference.kind}:${reference.path}`;
  const saved = chooseSaved(await savedIn(files, name), reference.image, name);
  const configBytes = await files.read(saved.Config, MAX_CONFIG);
  const { diffIds } = parseConfig(configBytes, `${name}: ${saved.Config}`);
  if (diffIds.length !== saved.Layers.length)
    throw new NodeosError(`${name}: ${saved.Layers.length} layers, and ${diffIds.length} digests in ${saved.Config}`);
  const config = { mediaType: TYPES.config, digest: sha256Digest(configBytes), size: configBytes.length };
  const paths = new Map([[config.digest, saved.Config]]);
  const layers = [];
  for (const path of saved.Layers) {
    const layer = await layerOf(files, path);
    paths.set(layer.digest, path);
    layers.push(layer);
  }
  const manifest = { schemaVersion: 2, mediaType: TYPES.manifest, config, layers };
  const document = { bytes: Buffer.from(JSON.stringify(manifest)), mediaType: TYPES.manifest };
  return {
    name: `${name}${reference.image === undefined ? '' : `:${reference.image}`}`,
    top: () => Promise.resolve(document),
    manifest: () => Promise.reject(new NodeosError(`${name} has no index`)),
    async blob({ digest }, offset) {
      const path = paths.get(digest);
      if (path === undefined) throw new NodeosError(`${name} has no ${digest}`);
      return { offset, body: await files.open(path, offset) };
    },
    close: () => files.close(),
  };
}

/** A layer is read once: only then are its size and its digest known. Some tools compress it. */
async function layerOf(files: LayoutFiles, path: string): Promise<Descriptor> {
  const hash = createHash('sha256');
  let [size, start] = [0, Buffer.alloc(0)];
  for await (const bytes of await files.open(path, 0)) {
    if (size === 0) start = Buffer.from(bytes.subarray(0, 2));
    hash.update(bytes);
    size += bytes.length;
  }
  const isGzip = start.equals(GZIP);
  return { mediaType: isGzip ? TYPES.gzipLayer : TYPES.layer, digest: `sha256:${hash.digest('hex')}`, size };
}

async function savedIn(files: LayoutFiles, name: string): Promise<Saved[]> {
  const subject = `${name}: manifest.json`;
  let value: unknown;
  try {
    value = JSON.parse((await files.read('manifest.json', MAX_MANIFEST)).toString());
  } catch (error) {
    if (error instanceof NodeosError) throw error;
    throw new NodeosError(`${subject} is no JSON`, { cause: error });
  }
  const isTexts = (list: unknown): list is string[] =>
    Array.isArray(list) && list.every((one) => typeof one === 'string');
  return (Array.isArray(value) ? (value as Partial<Saved>[]) : []).map(({ Config, RepoTags, Layers }) => {
    const tags = RepoTags ?? [];
    if (typeof Config !== 'string' || !isTexts(Layers) || !isTexts(tags))
      throw new NodeosError(`${subject} is not what docker save writes`);
    return { Config, Layers, RepoTags: tags };
  });
}

function chooseSaved(all: readonly Saved[], image: string | undefined, name: string): Saved {
  const index = /^@(\d+)$/.exec(image ?? '')?.[1];
  const wanted = image !== undefined && /:[^/]*$/.test(image) ? image : `${image}:latest`;
  const found =
    image === undefined
      ? all.length === 1 && all[0]
      : index !== undefined
        ? all[Number(index)]
        : all.find(({ RepoTags }) => RepoTags.some((tag) => tag === wanted || tag === image));
  if (found) return found;
  const tags = all.map(({ RepoTags }, number) => RepoTags[0] ?? `@${number}`);
  throw new NodeosError(image === undefined ? `${name} has ${all.length} images` : `${name} has no image ${image}`, {
    hint: tags.length === 0 ? 'it is empty' : `it has ${tags.slice(0, 20).join(', ')}`,
  });
}
