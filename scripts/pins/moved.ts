/** Moves a source to a newer version of its package: the places stay the same, with the new version and checksums. */
import { NodeosError } from '@nodeos/base';
import { checksumOf, type Place, type Source, type UrlPlace } from '@nodeos/engine';
import { upstreamOf } from './debian-version.js';
import { packageOf, type PackagePlace } from './places/index.js';

export interface MovedSource {
  readonly source: Source;
  /** From each old text in the sources file to the new one: versions, checksums, file names. */
  readonly replacements: ReadonlyMap<string, string>;
}

/** snapshot.debian.org, the archive of everything that Debian published, names files by their SHA-1. */
const BY_SHA1 = /\/file\/([0-9a-f]{40})$/;

/**
 * @param sha1 of the file at `to`
 * @throws NodeosError if a place of the source cannot be moved, because its new checksum is unknown
 */
export function moveSource(source: Source, from: PackagePlace, to: PackagePlace, sha1: string): MovedSource {
  const version = versionOf(source, from, to);
  const replacements = new Map<string, string>([
    [packageVersion(from), packageVersion(to)],
    [upstreamOf(packageVersion(from)), upstreamOf(packageVersion(to))],
    [source.version, version],
    [checksumOf(from).digest, checksumOf(to).digest],
    ...memberWords(from, to),
  ]);
  const places = source.places.map((place): Place => {
    if (place === from) return to;
    if (!('url' in place)) throw refusal(source, version, JSON.stringify(place), 'it has two packages');
    if (checksumOf(place).digest !== checksumOf(from).digest) return ownChecksum(place, source, version);
    const [, old] = BY_SHA1.exec(place.url) ?? [];
    if (old !== undefined) replacements.set(old, sha1);
    // The checksums are equal, so the place has the same file as the package.
    return { ...place, ...sumOf(to), url: replaceWords(place.url, replacements) };
  });
  return { source: { ...source, version, places }, replacements };
}

const packageVersion = (place: PackagePlace): string => packageOf(place).version;

const sumOf = (place: PackagePlace): { sha256: string } | { sha512: string } =>
  'sha256' in place ? { sha256: place.sha256 } : { sha512: place.sha512 };

function memberWords(from: PackagePlace, to: PackagePlace): [string, string][] {
  const [before, after] = [from, to].map((place) => ('debian' in place ? place.debian.member : undefined));
  return before === undefined || after === undefined ? [] : [[before, after]];
}

/** The source's new version. It is the package's version, or upstream's part of it, like the old one. */
function versionOf(source: Source, from: PackagePlace, to: PackagePlace): string {
  const rule = [(version: string) => version, upstreamOf].find((make) => make(packageVersion(from)) === source.version);
  if (rule) return rule(packageVersion(to));
  const place = `${packageOf(from).package} ${packageVersion(from)}`;
  throw refusal(source, 'a newer version', place, 'the version of the source does not follow from it');
}

function ownChecksum(place: UrlPlace, source: Source, version: string): UrlPlace {
  if (version === source.version) return place; // only the packaging is newer
  throw refusal(source, version, place.url, 'its file has a checksum of its own, which only its publisher knows');
}

function refusal(source: Source, version: string, place: string, reason: string): NodeosError {
  return new NodeosError(
    `${source.name} ${source.version} cannot be moved to ${version}: of its place ${place}, ${reason}`,
    {
      hint: `move it by hand: take the checksum from the announcement of the release, or remove the place`,
    },
  );
}

/** Replaces whole words: `2.41` does not contain `2.4`. */
export function replaceWords(text: string, replacements: ReadonlyMap<string, string>): string {
  const longestFirst = [...replacements.keys()].sort((a, b) => b.length - a.length);
  const pattern = longestFirst.map((word) => word.replace(/[^\w]/g, '\\$&')).join('|');
  return text.replace(
    new RegExp(`(?<![0-9.])(?:${pattern})(?![0-9]|\\.[0-9])`, 'g'),
    (word) => replacements.get(word) ?? word,
  );
}
