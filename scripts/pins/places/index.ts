/** The kinds of place that can be queried for the newest version, one row each. */
import type { Cache, DebianPlace, NpmPlace, Place, Source } from '@nodeos/engine';
import type { Release } from '../changelog.js';
import { debian } from './debian.js';
import { npm } from './npm.js';

export interface Context {
  /** The cache for fetched files: the one of the builds, so that the next build finds them. */
  readonly cache: Cache;
  readonly signal: AbortSignal;
  readonly log: (text: string) => void;
}

/** What a place offers of the pinned package. */
export interface Offer {
  readonly package: string;
  readonly pinned: string;
  readonly newest: string;
  /** The family of the pin. Pins of the same family in the same file are moved together. */
  family(): Promise<string>;
  /** Negative if version `a` is older than `b`, 0 if they are equal, positive if `a` is newer. */
  readonly compare: (a: string, b: string) => number;
  /** The package's releases. */
  history(): Promise<Release[]>;
  /** The place of the newest version, with the checksum that the place declares. */
  newestPlace(): Promise<PackagePlace>;
}

export type PackagePlace = DebianPlace | NpmPlace;

export interface PlaceKind {
  readonly name: string;
  matches(place: Place): boolean;
  query(place: Place, context: Context): Promise<Offer>;
}

const KINDS: readonly PlaceKind[] = [debian, npm];

export const kindOf = (place: Place): PlaceKind | undefined => KINDS.find((kind) => kind.matches(place));

/** The first place of the source that can be queried. */
export function packagePlaceOf(source: Source): PackagePlace | undefined {
  return source.places.find((place): place is PackagePlace => kindOf(place) !== undefined);
}

/** The package's name and its pinned version. */
export const packageOf = (place: PackagePlace): { readonly package: string; readonly version: string } =>
  'npm' in place ? place.npm : place.debian;
