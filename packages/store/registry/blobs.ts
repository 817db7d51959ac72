/** What is used of a repository, and blobs of it as bytes. */
import { NodeosError } from '@nodeos/base';
import { failure } from '@nodeos/block';
import { blobOf, type Blob } from './manifest.js';

/** `Repository` of `@nodeos/oci` is one. */
export interface PackRepository {
  /** Shown to the user. */
  readonly name: string;
  /** @param reference a tag or a digest */
  manifest(reference: string, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array } | undefined>;
  /**
   * Opens a blob.
   * @param offset of the first byte
   * @param length bytes that are wanted; more may come, and are not read
   * @returns the bytes from `offset`, or from an earlier one
   */
  blob(
    blob: Blob,
    offset: number,
    signal: AbortSignal,
    length?: number,
  ): Promise<{ readonly offset: number; readonly body: AsyncIterable<Uint8Array> }>;
  putBlob(blob: Blob, open: () => Uint8Array, signal: AbortSignal): Promise<unknown>;
  putManifest(
    tag: string,
    document: { readonly bytes: Buffer; readonly mediaType: string },
    signal: AbortSignal,
  ): Promise<unknown>;
  /** All tags, also those of others. */
  tags(signal: AbortSignal): Promise<readonly string[]>;
  /** @returns `refused` if the registry deletes nothing */
  deleteManifest(digest: string, signal: AbortSignal): Promise<'deleted' | 'missing' | 'refused'>;
}

/** A part of a blob. @throws Error with the code EIO if it is shorter */
export async function readBlob(
  repository: PackRepository,
  blob: Blob,
  { offset, length }: { readonly offset: number; readonly length: number },
  signal: AbortSignal,
): Promise<Buffer> {
  const { offset: from, body } = await repository.blob(blob, offset, signal, length);
  const into = Buffer.alloc(length);
  let [at, filled] = [from, 0];
  for await (const part of body) {
    const useful = part.subarray(Math.max(0, offset + filled - at), offset + length - at);
    into.set(useful, filled);
    filled += useful.length;
    at += part.length;
    if (filled === length) return into; // which ends the answer too
  }
  throw failure('EIO', `${repository.name}: ${blob.digest} ends at byte ${at}, and ${offset + length} are wanted`);
}

/**
 * @param most bytes that are taken
 * @throws NodeosError if it is longer, or not what its digest says
 */
export async function wholeBlob(
  repository: PackRepository,
  blob: Blob,
  { most, what }: { readonly most: number; readonly what: string },
  signal: AbortSignal,
): Promise<Buffer> {
  const { name } = repository;
  if (blob.size > most) throw new NodeosError(`${name}: ${what} has ${blob.size} bytes; ${most} are the most`);
  const bytes = await readBlob(repository, blob, { offset: 0, length: blob.size }, signal);
  if (blobOf(bytes).digest === blob.digest) return bytes;
  throw new NodeosError(`${name}: ${what} is not what its digest says`);
}

export async function storeBlob(repository: PackRepository, bytes: Uint8Array, signal: AbortSignal): Promise<Blob> {
  const blob = blobOf(bytes);
  await repository.putBlob(blob, () => bytes, signal);
  return blob;
}
