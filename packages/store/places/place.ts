/**
 * Anything that keeps small files by path: a folder, a web server, a bucket, memory. What a store keeps where is said by
 * `chunks.ts` and `images.ts`; a place only moves bytes. An absent method is not supported.
 */
export interface Stored {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Milliseconds since 1970, when it was written, moved or touched last. */
  readonly modified: number;
}

export interface Place {
  /** Shown to the user; without passwords. */
  readonly name: string;
  /**
   * @param most bytes that are taken
   * @returns undefined if there is no such file
   * @throws NodeosError if the file is larger; errors of the disk or the network
   */
  get(path: string, most: number, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** The size in bytes; undefined if there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Replaces a file at once: a reader sees the old bytes or the new ones. Not durable before `sync`. */
  put?(path: string, bytes: Uint8Array): Promise<void>;
  /** Makes all that was put, and what `keep` names, survive a crash of the machine. */
  sync?(keep?: Iterable<string>): Promise<void>;
  list?(folder: string): AsyncIterable<Stored>;
  /** Deletes a file, which may be gone already. */
  delete?(path: string): Promise<void>;
  /** Moves a file, and makes it new. @returns false if it is not there */
  move?(from: string, to: string): Promise<boolean>;
  close?(): Promise<void> | void;
}

export type WritablePlace = Place & Required<Pick<Place, 'put'>>;
export type PrunablePlace = WritablePlace & Required<Pick<Place, 'list' | 'delete' | 'move'>>;

export const isWritable = (place: Place): place is WritablePlace => place.put !== undefined;
export const isPrunable = (place: Place): place is PrunablePlace =>
  isWritable(place) && place.list !== undefined && place.delete !== undefined && place.move !== undefined;
