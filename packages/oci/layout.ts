/**
 * Layouts: images in a folder.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { digestOf, type Sized } from './digest.js';
import { MAX_MANIFEST, parseDocument, TYPES, type Descriptor, type Document } from './model.js';
import type { FileReference } from './reference.js';
import type { ImageSource } from './source.js';

const PIECE = 1 << 20;
export const REF_NAME = 'org.opencontainers.image.ref.name';

/** Files by name, of a folder or of an archive. */
export interface LayoutFiles {
  /** @throws NodeosError if it is not there, or longer than `most` bytes */
  read(path: string, most: number): Promise<Buffer>;
  open(path: string, offset: number): Promise<AsyncIterable<Uint8Array>>;
  close(): Promise<void>;
}

export const layoutFolder = (root: string): LayoutFiles => ({
  async read(path, most) {
    const full = join(root, path);
    try {
      const handle = await open(full);
      try {
        const { size } = await handle.stat();
        if (size > most) throw new NodeosError(`${full} has ${size} bytes, more than the ${most} that are read`);
        return await handle.readFile();
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw failure(error, full);
    }
  },
  async open(path, offset) {
    const full = join(root, path);
    try {
      return createReadStream('', { fd: await open(full), start: offset, highWaterMark: PIECE });
    } catch (error) {
      throw failure(error, full);
    }
  },
  close: () => Promise.resolve(),
});

function failure(error: unknown, path: string): Error {
  if (error instanceof NodeosError) return error;
  const hint = codeOf(error) === 'ENOENT' ? 'is it a layout, with index.json and blobs/?' : undefined;
  return new NodeosError(`cannot read ${path}: ${messageOf(error)}`, { cause: error, ...(hint ? { hint } : {}) });
}

/** @throws NodeosError if it is no layout, or there is not one image of that name */
export async function layoutSource(reference: FileReference, files: LayoutFiles): Promise<ImageSource> {
  const name = `${reference.kind}:${reference.path}`;
  const bytes = await files.read('index.json', MAX_MANIFEST);
  const index = parseDocument({ bytes, mediaType: TYPES.index }, `${name}: index.json`);
  if (!('manifests' in index)) throw new NodeosError(`${name}: index.json is no index`);
  const chosen = chooseByName(index.manifests, reference.image, name);
  const only = chosen.length === 1 ? chosen[0] : undefined;
  const document = async ({ digest, size, mediaType = '' }: Sized & { mediaType?: string }): Promise<Document> => {
    if (size > MAX_MANIFEST) throw new NodeosError(`${name}: a manifest of ${size} bytes`);
    return { bytes: await files.read(pathOf(digest), MAX_MANIFEST), mediaType };
  };
  return {
    name: `${name}${reference.image === undefined ? '' : `:${reference.image}`}`,
    ...(only ? { digest: only.digest } : {}),
    // Several images of one name are those of several platforms.
    top: async () => (only ? document(only) : indexOf(chosen)),
    manifest: document,
    blob: async ({ digest }, offset) => ({ offset, body: await files.open(pathOf(digest), offset) }),
    close: () => files.close(),
  };
}

const indexOf = (manifests: readonly Descriptor[]): Document => ({
  bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests })),
  mediaType: TYPES.index,
});

const pathOf = (digest: string): string => {
  const { algorithm, hex } = digestOf(digest, 'a layout');
  return `blobs/${algorithm}/${hex}`;
};

function chooseByName(all: readonly Descriptor[], image: string | undefined, name: string): readonly Descriptor[] {
  const nameOf = ({ annotations }: Descriptor): string => annotations?.[REF_NAME] ?? '';
  const names = [...new Set(all.map(nameOf))];
  const found =
    image === undefined
      ? names.length === 1
        ? all
        : []
      : all.filter((one) => nameOf(one) === image || one.digest === image || `@${one.digest}` === image);
  if (found.length > 0) return found;
  const there = names.map((one) => one || 'one without a name');
  throw new NodeosError(image === undefined ? `${name} has ${names.length} images` : `${name} has no image ${image}`, {
    hint: there.length === 0 ? 'it is empty' : `it has ${there.slice(0, 20).join(', ')}`,
  });
}
