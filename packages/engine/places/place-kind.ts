/** What a kind of place can do. */
import type { Place } from '../source.js';

export interface FetchContext {
  /** The folder of the cache that the kind may use for itself. */
  readonly home: string;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly progress: (message: string) => void;
}

export interface PlaceKind {
  matches(place: Place): boolean;
  /** For messages. */
  describe(place: Place): string;
  /** Writes the file to `path`, going on after the bytes that are there if the kind can. Does not verify. */
  download(place: Place, path: string, context: FetchContext): Promise<void>;
}
