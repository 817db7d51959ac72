/** The kinds of place that can be asked for the newest version: one row a kind. */
import type { Cache, DebianPlace, NpmPlace, Place, Source } from '@nodeos/engine';
import type { Release } from '../changelog.js';
import { debian } from './debian.js';
import { npm } from './npm.js';

export interface Context {
  /** Where fetched files go: the builds' own, so that the next one finds them. */
  readonly cache: Cache;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** What a place says about the pinned package. */
export interface Offer {
  readonly package: string;
  readonly pinned: string;
  readonly newest: string;
  /** Pins of one family in one file are moved together. */
  family(): Promise<string>;
  /** Whether version `a` is older than, the same as or newer than `b`. */
  readonly compare: (a: string, b: string) => number;
  /** The package's releases. */
  history(): Promise<Release[]>;
  /** Where the newest version is, with the checksum that the place declares. */
  newestPlace(): Promise<AskedPlace>;
}

export type AskedPlace = DebianPlace | NpmPlace;

export interface PlaceKind {
  readonly name: string;
  matches(place: Place): boolean;
  ask(place: Place, context: Context): Promise<Offer>;
}

const KINDS: readonly PlaceKind[] = [debian, npm];

export const kindOf = (place: Place): PlaceKind | undefined => KINDS.find((kind) => kind.matches(place));

/** The first of the source's places that can be asked. */
export function askedPlace(source: Source): AskedPlace | undefined {
  return source.places.find((place): place is AskedPlace => kindOf(place) !== undefined);
}

/** The package's name and its pinned version. */
export const packageOf = (place: AskedPlace): { readonly package: string; readonly version: string } =>
  'npm' in place ? place.npm : place.debian;
