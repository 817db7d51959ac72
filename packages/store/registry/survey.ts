/**
 * What a repository has: images under tags, what had those tags before, and which chunks of each pack an image needs.
 * What others keep in the repository is left alone, and so is every manifest that it names.
 */
import { NodeosError } from '@nodeos/base';
import type { PackRepository } from './blobs.js';
import type { Blob, ImageManifest, Lineage } from './manifest.js';
import { readImage } from './store.js';
import { decodeTagged, readTag, type Tagged } from './tag.js';

/** Chunks of all images together, each counted once: 2 TiB in blocks of 512 KiB. They are in memory. */
const MAX_CHUNKS = 1 << 22;
/** Manifests that had a tag before, of which those beyond are not looked for. */
const MAX_REPLACED = 10_000;

export interface TaggedImage {
  readonly tag: string;
  readonly tagged: Tagged;
  readonly manifest: ImageManifest;
}

/** A manifest without a tag. */
export interface Replaced {
  readonly digest: string;
  /** Milliseconds of the epoch; undefined if nobody has said it. */
  readonly since: number | undefined;
}

export interface NeededChunk {
  readonly id: string;
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

export interface NeededPack {
  readonly blob: Blob;
  /** By offset. */
  readonly chunks: Map<number, NeededChunk>;
  /** Bytes of the chunks. */
  bytes: number;
}

export interface Survey {
  readonly images: readonly TaggedImage[];
  /** By digest. */
  readonly packs: ReadonlyMap<string, NeededPack>;
  /** Of each tag: the oldest first, and last the note that the image was removed, if it was. */
  readonly replaced: readonly (readonly Replaced[])[];
}

/** @throws NodeosError if an image cannot be read, or all have more chunks than are counted */
export async function survey(
  repository: PackRepository,
  signal: AbortSignal,
  onTag: (done: number, all: number) => void = () => undefined,
): Promise<Survey> {
  const images: TaggedImage[] = [];
  const replaced: Replaced[][] = [];
  const packs = new Map<string, NeededPack>();
  let count = 0;

  async function need({ tag, manifest }: TaggedImage): Promise<void> {
    const { places } = await readImage(repository, manifest, `${repository.name}:${tag}`, signal);
    for (const blob of manifest.packs) if (!packs.has(blob.digest)) packs.set(blob.digest, emptyPack(blob));
    for (const [id, { pack, offset, length }] of places) {
      const needed = packs.get(pack.digest);
      if (!needed || needed.chunks.has(offset)) continue;
      needed.chunks.set(offset, { id, offset, length });
      needed.bytes += length;
      if (++count > MAX_CHUNKS)
        throw new NodeosError(`${repository.name}: its images have more than ${count - 1} chunks`);
    }
  }

  const tags = await repository.tags(signal);
  for (const [number, tag] of tags.entries()) {
    onTag(number, tags.length);
    const tagged = await readTag(repository, tag, signal);
    if (!tagged) continue; // removed meanwhile
    const found = decodeTagged(tagged.bytes, `${repository.name}:${tag}`);
    if (found.kind === 'other') continue;
    const lineage = found.kind === 'image' ? found.manifest : found.lineage;
    const before = await replacedBy(repository, lineage, signal);
    if (found.kind === 'removed') before.push({ digest: tagged.digest, since: lineage.created });
    replaced.push(before);
    if (found.kind === 'removed') continue;
    const image = { tag, tagged, manifest: found.manifest };
    images.push(image);
    await need(image);
  }
  onTag(tags.length, tags.length);
  return { images, packs, replaced };
}

const emptyPack = (blob: Blob): NeededPack => ({ blob, chunks: new Map(), bytes: 0 });

/** What had a tag before, up to what is deleted already; the oldest first. */
async function replacedBy(repository: PackRepository, newest: Lineage, signal: AbortSignal): Promise<Replaced[]> {
  const found: Replaced[] = [];
  for (let at = newest; at.replaces !== undefined && found.length < MAX_REPLACED;) {
    const digest = at.replaces;
    const tagged = await readTag(repository, digest, signal);
    if (!tagged) break;
    if (tagged.digest !== digest) throw new NodeosError(`${repository.name}: ${digest} is not what its digest says`);
    const decoded = decodeTagged(tagged.bytes, `${repository.name}@${digest}`);
    if (decoded.kind === 'other') break; // somebody else's, under a tag that an image has got
    found.push({ digest, since: at.created });
    at = decoded.kind === 'image' ? decoded.manifest : decoded.lineage;
  }
  return found.reverse();
}

/** Digests that must stay: what tags stand for now, and whatever the manifests of others name. */
export async function keptDigests(repository: PackRepository, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const kept = new Set<string>();
  for (const tag of await repository.tags(signal)) {
    const tagged = await readTag(repository, tag, signal);
    if (!tagged) continue;
    const { kind } = decodeTagged(tagged.bytes, `${repository.name}:${tag}`);
    // A note under a tag goes with what it is about.
    if (kind !== 'removed') kept.add(tagged.digest);
    if (kind === 'other')
      for (const [digest] of Buffer.from(tagged.bytes)
        .toString()
        .matchAll(/sha256:[0-9a-f]{64}/g))
        kept.add(digest);
  }
  return kept;
}
