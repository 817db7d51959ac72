/** The files of a layout with one image, for an archive. */
import { dirname } from 'node:path';
import { directory, file, type Entry } from '@nodeos/tree';
import { digestOf } from './digest.js';
import { REF_NAME } from './layout.js';
import { TYPES, type Descriptor } from './model.js';

export interface StoredBlob {
  readonly descriptor: Descriptor;
  open(): AsyncIterable<Uint8Array>;
}

export const LAYOUT = JSON.stringify({ imageLayoutVersion: '1.0.0' });

/** Where a blob is in a layout. */
export function blobPath(digest: string): string {
  const { algorithm, hex } = digestOf(digest, 'a blob');
  return `blobs/${algorithm}/${hex}`;
}

/** The text of index.json. @param others images that are in it already */
export function indexText(manifest: Descriptor, name: string | undefined, others: readonly object[] = []): string {
  const named = name === undefined ? manifest : { ...manifest, annotations: { [REF_NAME]: name } };
  return JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests: [...others, named] });
}

/** @param blobs the manifest among them */
export function archiveEntries(manifest: Descriptor, blobs: readonly StoredBlob[], name: string | undefined): Entry[] {
  const stored = blobs.map((blob): Entry => ({
    ...file(blobPath(blob.descriptor.digest), ''),
    size: blob.descriptor.size,
    open: () => blob.open(),
  }));
  const folders = new Set(stored.map(({ path }) => dirname(path)));
  return [
    ...['blobs', ...folders].map((path) => directory(path)),
    ...stored.sort((a, b) => (a.path < b.path ? -1 : 1)),
    file('index.json', indexText(manifest, name)),
    file('oci-layout', LAYOUT),
  ];
}
