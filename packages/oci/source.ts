/** Where images come from. A registry, a layout and an archive are alike from here on. */
import type { Document } from './model.js';
import type { Sized } from './digest.js';

export interface ImageSource {
  /** Shown to the user. */
  readonly name: string;
  /** The digest of the manifest or index that the reference names, if it is known. */
  readonly digest?: string;
  /** The manifest or index that the reference names. Its digest is checked by the caller. */
  top(signal: AbortSignal): Promise<Document>;
  /** One of an index. Its digest is checked by the caller. */
  manifest(wanted: Sized, signal: AbortSignal): Promise<Document>;
  /**
   * A blob, which is not checked yet. It may break, and be opened again.
   * @param offset bytes, less than its size
   * @returns where it really begins: a server may not know ranges
   */
  blob(wanted: Sized, offset: number, signal: AbortSignal): Promise<OpenBlob>;
  close(): Promise<void>;
}

export interface OpenBlob {
  readonly offset: number;
  readonly body: AsyncIterable<Uint8Array>;
}
