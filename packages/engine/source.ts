/** Pinned sources: an ordered list of places, each with the checksum of the file it serves. */

/** A SHA-256 or SHA-512 digest in hexadecimal. Distributions repack tarballs, so each place has its own checksum. */
export type Checksum = { readonly sha256: string } | { readonly sha512: string };

/** A file at a URL. */
export type UrlPlace = Checksum & { readonly url: string };

/** A file of a Debian source package (with `member`), or a binary package (without). */
export type DebianPlace = Checksum & {
  readonly debian: {
    readonly package: string;
    readonly version: string;
    readonly suite: string;
    /** The part of the archive. Default: `main`. */
    readonly component?: string;
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
  /** Maximum size in bytes. A longer download over HTTP is cut off. Default: 1 GiB. */
  readonly maxBytes?: number;
  readonly places: readonly Place[];
}

/**
 * The places of a Debian file: the host's Debian mirror first, then snapshot.debian.org, which keeps everything that
 * Debian ever published. The snapshot archive names files by SHA-1. The SHA-256 is checked in both cases.
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
