/** Copies an image to a registry, into a layout or to a layout in an archive: byte for byte, so its digest stays. */
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { codeOf, NodeosError, replaceFile, UsageError } from '@nodeos/base';
import { writeTar } from '@nodeos/tree';
import { archiveEntries, blobPath, indexText, LAYOUT } from './archive-entries.js';
import type { Image } from './image.js';
import { REF_NAME } from './layout.js';
import { MAX_MANIFEST, objectIn, TYPES, type Descriptor } from './model.js';
import { parseReference, type FileReference, type RegistryReference } from './reference.js';
import { Repository, type RegistryOptions } from './registry.js';

export interface CopyOptions extends RegistryOptions {
  readonly signal: AbortSignal;
  /** Bytes that have been fetched or stored. */
  readonly progress?: (bytes: number) => void;
}

const PIECE = 1 << 20;

/** What is copied, and where it is in the cache. */
interface Copied {
  readonly image: Image;
  readonly blobs: readonly { readonly descriptor: Descriptor; readonly path: string }[];
}

/**
 * @param to the name of the copy: `docker://`, `oci:` or `oci-archive:`
 * @returns the digest of the manifest
 * @throws UsageError for another destination; NodeosError if it cannot be fetched or stored
 */
export async function copyImage(image: Image, to: string, options: CopyOptions): Promise<string> {
  const reference = parseReference(to);
  if (reference.kind === 'docker-archive')
    throw new UsageError(`${to}: archives of Docker are read, and not written`, {
      hint: 'oci-archive:FILE, which docker load reads as well',
    });
  if (reference.kind === 'docker' && reference.digest !== undefined && reference.digest !== image.digest)
    throw new UsageError(`${to}: the image has the digest ${image.digest}`);
  const copied = await fetched(image, options);
  if (reference.kind === 'docker') await toRegistry(copied, reference, options);
  else if (reference.kind === 'oci') await toFolder(copied, reference);
  else await toArchive(copied, reference);
  return image.digest;
}

async function fetched(image: Image, { progress }: CopyOptions): Promise<Copied> {
  const paths = await image.fetch(progress);
  const layers = image.manifest.layers.map((descriptor, index) => ({ descriptor, path: paths[index] ?? '' }));
  // A layer can be there twice: empty ones are all the same.
  const blobs = new Map(layers.map((one) => [one.descriptor.digest, one]));
  return { image, blobs: [...blobs.values(), { descriptor: image.manifest.config, path: image.configPath }] };
}

async function toRegistry({ image, blobs }: Copied, reference: RegistryReference, options: CopyOptions): Promise<void> {
  const { host, repository, tag } = reference;
  const to = new Repository(host, repository, options);
  for (const { descriptor, path } of blobs) {
    await to.putBlob(descriptor, () => createReadStream(path, { highWaterMark: PIECE }), options.signal);
    options.progress?.(descriptor.size);
  }
  await to.putManifest(tag ?? image.digest, image.document, options.signal);
}

async function toFolder({ image, blobs }: Copied, { path: root, image: name }: FileReference): Promise<void> {
  const files = [...blobs.map(({ descriptor, path }) => ({ ...descriptor, write: cloneOf(path) })), manifestOf(image)];
  for (const { digest, size, write } of files) {
    const path = join(root, blobPath(digest));
    await mkdir(dirname(path), { recursive: true });
    if ((await stat(path).catch(() => undefined))?.size !== size) await replaceFile(path, write);
  }
  const others = othersOf(await manifestsIn(join(root, 'index.json')), image.digest, name);
  await writeFile(join(root, 'oci-layout'), LAYOUT);
  await replaceFile(join(root, 'index.json'), (path) => writeFile(path, indexText(descriptorOf(image), name, others)));
}

const cloneOf =
  (from: string) =>
  (to: string): Promise<void> =>
    copyFile(from, to, constants.COPYFILE_FICLONE);

function manifestOf({ digest, document: { bytes } }: Image): {
  digest: string;
  size: number;
  write: (to: string) => Promise<void>;
} {
  return { digest, size: bytes.length, write: (to) => writeFile(to, bytes) };
}

/** A descriptor as a layout has it. */
type Stored = Readonly<Record<string, unknown>>;

/** The images that a layout has already. */
async function manifestsIn(path: string): Promise<Stored[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return Buffer.from('{}');
    throw error;
  });
  if (bytes.length > MAX_MANIFEST)
    throw new NodeosError(`${path} has ${bytes.length} bytes, more than the ${MAX_MANIFEST} that are read`);
  const { manifests } = objectIn(bytes, path);
  return Array.isArray(manifests) ? (manifests as Stored[]) : [];
}

/** The image that a layout has under that name is replaced. */
function othersOf(all: readonly Stored[], digest: string, name: string | undefined): readonly Stored[] {
  const nameOf = ({ annotations }: Stored): unknown => (annotations as Stored | undefined)?.[REF_NAME];
  return all.filter((one) => (name === undefined ? one['digest'] !== digest : nameOf(one) !== name));
}

const descriptorOf = ({ digest, document: { bytes, mediaType } }: Image): Descriptor => ({
  mediaType: mediaType || TYPES.manifest,
  digest,
  size: bytes.length,
});

async function toArchive({ image, blobs }: Copied, { path, image: name }: FileReference): Promise<void> {
  const manifest = descriptorOf(image);
  const stored = blobs.map(({ descriptor, path: from }) => ({
    descriptor,
    open: () => createReadStream(from, { highWaterMark: PIECE }),
  }));
  const all = [...stored, { descriptor: manifest, open: () => Readable.from([image.document.bytes]) }];
  await replaceFile(path, (temporary) => writeTar(archiveEntries(manifest, all, name), temporary));
}
