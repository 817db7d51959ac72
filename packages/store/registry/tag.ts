/**
 * What a tag stands for, and its change. The protocol has no compare-and-swap (`If-Match` is not in it), so a change is
 * compared before and after: it is refused if the tag has got another manifest since it was read, and said if somebody
 * else wrote it at the same moment. What is there then is whole in any case.
 */
import { NodeosError } from '@nodeos/base';
import type { PackRepository } from './blobs.js';
import {
  blobOf,
  decodeManifest,
  decodeRemoved,
  encodeManifest,
  isImage,
  TYPES,
  type ImageManifest,
  type Lineage,
} from './manifest.js';

export interface Tagged {
  /** Of the manifest. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

export async function readTag(
  repository: PackRepository,
  tag: string,
  signal: AbortSignal,
): Promise<Tagged | undefined> {
  const found = await repository.manifest(tag, signal);
  return found && { digest: blobOf(found.bytes).digest, bytes: found.bytes };
}

/** What kind of manifest it is: an image, one that was removed, or what others keep in the repository. */
export function decodeTagged(
  bytes: Uint8Array,
  name: string,
):
  | { readonly kind: 'image'; readonly manifest: ImageManifest }
  | { readonly kind: 'removed'; readonly lineage: Lineage }
  | { readonly kind: 'other' } {
  if (isImage(bytes, name)) return { kind: 'image', manifest: decodeManifest(bytes, name) };
  const lineage = decodeRemoved(bytes, name);
  return lineage ? { kind: 'removed', lineage } : { kind: 'other' };
}

/** An image without its lineage, which its writer adds. */
export type ImageContents = Omit<ImageManifest, keyof Lineage>;

/** Somebody has changed the tag since it was read. */
export class TagChangedError extends NodeosError {}

/**
 * @param expected what the tag stood for when it was read; undefined if there was nothing
 * @param encode makes the manifest
 * @throws TagChangedError if it stands for something else now, before or after the change
 */
export async function replaceTag(
  repository: PackRepository,
  tag: string,
  expected: Tagged | undefined,
  encode: (lineage: Lineage) => Buffer,
  signal: AbortSignal,
): Promise<Tagged> {
  const name = `${repository.name}:${tag}`;
  const now = await readTag(repository, tag, signal);
  if (now?.digest !== expected?.digest)
    throw new TagChangedError(`${name} has got other contents meanwhile, which stay`, { hint: 'do it again' });
  const bytes = encode({ replaces: expected?.digest, created: Date.now() });
  const { digest } = blobOf(bytes);
  await repository.putManifest(tag, { bytes, mediaType: TYPES.manifest }, signal);
  const after = await readTag(repository, tag, signal);
  if (after?.digest === digest || (after && replacesOf(after.bytes, name) === digest)) return { digest, bytes };
  throw new TagChangedError(`${name} was written by somebody else at the same moment, and has his contents`, {
    hint: 'do it again',
  });
}

export const replaceImage = (
  repository: PackRepository,
  tag: string,
  expected: Tagged | undefined,
  contents: ImageContents,
  signal: AbortSignal,
): Promise<Tagged> =>
  replaceTag(
    repository,
    tag,
    expected,
    (lineage) => encodeManifest({ ...contents, ...lineage }, `${repository.name}:${tag}`),
    signal,
  );

function replacesOf(bytes: Uint8Array, name: string): string | undefined {
  const found = decodeTagged(bytes, name);
  if (found.kind === 'other') return undefined;
  return (found.kind === 'image' ? found.manifest : found.lineage).replaces;
}
