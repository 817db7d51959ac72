/** The interface of a kind of place. */
import type { Place } from '../source.js';

export interface FetchContext {
  /** The cache's root folder; the kind may keep its own files there. */
  readonly home: string;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly progress: (message: string) => void;
}

export interface PlaceKind {
  matches(place: Place): boolean;
  /** A description for messages. */
  describe(place: Place): string;
  /** Writes the file to `path`. Resumes after the existing bytes if the kind supports it. Does not verify the file. */
  download(place: Place, path: string, context: FetchContext): Promise<void>;
}
