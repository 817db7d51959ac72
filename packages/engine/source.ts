/** Where pinned sources come from: an ordered list of places, each with the checksum of what it serves. */

/** `sha256` or `sha512`, in hexadecimal. Distributions repack tarballs, so each place has its own. */
export type Checksum = { readonly sha256: string } | { readonly sha512: string };

/** A file at a URL. */
export type UrlPlace = Checksum & { readonly url: string };

/** A file of a Debian source package (`member`), or a binary package (no `member`). */
export type DebianPlace = Checksum & {
  readonly debian: {
    readonly package: string;
    readonly version: string;
    readonly suite: string;
    readonly arch?: string;
    readonly member?: string;
  };
};

/** The tarball of an npm package, from the registry that npm is configured for. */
export type NpmPlace = Checksum & { readonly npm: { readonly package: string; readonly version: string } };

export type Place = UrlPlace | DebianPlace | NpmPlace;

export interface Source {
  readonly name: string;
  readonly version: string;
  /** An upper bound of its size in bytes; a longer download over HTTP is cut off. Default 1 GiB. */
  readonly maxBytes?: number;
  readonly places: readonly Place[];
}

/**
 * A file of Debian's: from the host's Debian mirror, else from Debian's archive of everything it ever published, which
 * names files by their SHA-1 (checked against the SHA-256 like any other).
 */
export function debianPlaces(debian: DebianPlace['debian'], sha256: string, sha1: string): Place[] {
  return [
    { debian, sha256 },
    { url: `https://snapshot.debian.org/file/${sha1}`, sha256 },
  ];
}

export function checksumOf(place: Place): { algorithm: 'sha256' | 'sha512'; digest: string } {
  return 'sha256' in place
    ? { algorithm: 'sha256', digest: place.sha256 }
    : { algorithm: 'sha512', digest: place.sha512 };
}
