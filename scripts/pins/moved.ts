/** A source at a newer version of its package: the same places, with the version and the checksums of now. */
import { NodeosError } from '@nodeos/base';
import { checksumOf, type Place, type Source, type UrlPlace } from '@nodeos/engine';
import { upstreamOf } from './debian-version.js';
import { packageOf, type AskedPlace } from './places/index.js';

export interface Moved {
  readonly source: Source;
  /** What the file says now, and what it is to say: versions, checksums, names of files. */
  readonly words: ReadonlyMap<string, string>;
}

/** Debian's archive of everything it published names files by their SHA-1. */
const BY_SHA1 = /\/file\/([0-9a-f]{40})$/;

/**
 * @param sha1 of the file at `to`
 * @throws NodeosError if a place of the source cannot be moved, because nobody here knows its checksum.
 */
export function moved(source: Source, from: AskedPlace, to: AskedPlace, sha1: string): Moved {
  const version = versionOf(source, from, to);
  const words = new Map<string, string>([
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
    if (old !== undefined) words.set(old, sha1);
    // The place has the same bytes as the package, or it would have another checksum.
    return { ...place, ...sumOf(to), url: replaceWords(place.url, words) };
  });
  return { source: { ...source, version, places }, words };
}

const packageVersion = (place: AskedPlace): string => packageOf(place).version;

const sumOf = (place: AskedPlace): { sha256: string } | { sha512: string } =>
  'sha256' in place ? { sha256: place.sha256 } : { sha512: place.sha512 };

function memberWords(from: AskedPlace, to: AskedPlace): [string, string][] {
  const [before, after] = [from, to].map((place) => ('debian' in place ? place.debian.member : undefined));
  return before === undefined || after === undefined ? [] : [[before, after]];
}

/** The version in the source's name is the package's, or upstream's part of it. */
function versionOf(source: Source, from: AskedPlace, to: AskedPlace): string {
  const rule = [(version: string) => version, upstreamOf].find((make) => make(packageVersion(from)) === source.version);
  if (rule) return rule(packageVersion(to));
  const held = `${packageOf(from).package} ${packageVersion(from)}`;
  throw refusal(source, 'a newer version', held, 'nothing says which version of the source it has');
}

function ownChecksum(place: UrlPlace, source: Source, version: string): UrlPlace {
  if (version === source.version) return place; // only the packaging is newer
  throw refusal(source, version, place.url, 'its file has a checksum of its own, which only who made it can tell');
}

function refusal(source: Source, version: string, place: string, why: string): NodeosError {
  return new NodeosError(
    `${source.name} ${source.version} cannot be moved to ${version}: of its place ${place}, ${why}`,
    {
      hint: `move it by hand: take the checksum from the announcement of the release, or remove the place`,
    },
  );
}

/** Puts other words in place of whole ones: `2.4` is not in `2.41`. */
export function replaceWords(text: string, words: ReadonlyMap<string, string>): string {
  const longestFirst = [...words.keys()].sort((a, b) => b.length - a.length);
  const any = longestFirst.map((word) => word.replace(/[^\w]/g, '\\$&')).join('|');
  return text.replace(new RegExp(`(?<![0-9.])(?:${any})(?![0-9]|\\.[0-9])`, 'g'), (word) => words.get(word) ?? word);
}
