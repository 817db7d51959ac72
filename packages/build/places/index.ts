/** The kinds of place that a source can come from: one row a kind, in the order in which a place is recognised. */
import type { Place } from '../source.js';
import { debian } from './debian.js';
import { npm } from './npm.js';
import { url } from './url.js';

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

const KINDS: readonly PlaceKind[] = [url, debian, npm];

export function kindOf(place: Place): PlaceKind {
  const kind = KINDS.find((candidate) => candidate.matches(place));
  if (kind) return kind;
  throw new Error(`no kind of place: ${JSON.stringify(place)}`);
}
