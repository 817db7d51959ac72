/**
 * Anything that keeps files by path: a folder, a web server, a bucket, memory. What is kept where is the business of who
 * uses it; a place only moves bytes. An absent method is not supported.
 */
import type { Readable } from 'node:stream';

export interface Stored {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Milliseconds since 1970, when it was written, moved or touched last. */
  readonly modified: number;
}

/** What becomes a file: bytes, or a stream that is opened once. */
export type Content = Uint8Array | { readonly size: number; readonly open: () => Readable };

export interface Place {
  /** Shown to the user; without passwords. */
  readonly name: string;
  /**
   * @param most bytes that are taken
   * @returns undefined if there is no such file
   * @throws NodeosError if the file is larger; errors of the disk or the network
   */
  get(path: string, most: number, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** A file of any size, as it comes. @returns undefined if there is no such file. @throws errors of the disk or the network */
  open(path: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** The size in bytes; undefined if there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Replaces a file at once: a reader sees the old bytes or the new ones. Not durable before `sync`. */
  put?(path: string, content: Content, signal?: AbortSignal): Promise<void>;
  /** Makes all that was put, and what `keep` names, survive a crash of the machine. */
  sync?(keep?: Iterable<string>): Promise<void>;
  list?(folder: string): AsyncIterable<Stored>;
  /** Deletes a file, which may be gone already. */
  delete?(path: string): Promise<void>;
  /** Moves a file, and makes it new. @returns false if it is not there */
  move?(from: string, to: string): Promise<boolean>;
  close?(): Promise<void> | void;
}

export const sizeOf = (content: Content): number => (content instanceof Uint8Array ? content.length : content.size);
export const bodyOf = (content: Content): Uint8Array | Readable =>
  content instanceof Uint8Array ? content : content.open();

export type WritablePlace = Place & Required<Pick<Place, 'put'>>;
export type PrunablePlace = WritablePlace & Required<Pick<Place, 'list' | 'delete' | 'move'>>;

export const isWritable = (place: Place): place is WritablePlace => place.put !== undefined;
export const isPrunable = (place: Place): place is PrunablePlace =>
  isWritable(place) && place.list !== undefined && place.delete !== undefined && place.move !== undefined;
