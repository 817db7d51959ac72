/** The kinds of places that a source can come from, in the order in which they are tried for a match. */
import type { Place } from '../source.js';
import { debian } from './debian.js';
import { npm } from './npm.js';
import type { PlaceKind } from './place-kind.js';
import { url } from './url.js';

const KINDS: readonly PlaceKind[] = [url, debian, npm];

export function kindOf(place: Place): PlaceKind {
  const kind = KINDS.find((candidate) => candidate.matches(place));
  if (kind) return kind;
  throw new Error(`no kind of place: ${JSON.stringify(place)}`);
}
