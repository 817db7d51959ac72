/** The pinned sources of the toolchain. `docs/toolchain.md` says how to move the pins. */
import { debianPlaces, type Source } from '@nodeos/engine';

/**
 * A source with two origins. The first is a Debian package that contains the source tarball, which Debian makes for
 * building cross-compilers. The second is upstream's release. Both have the same code, but Debian's lacks the manuals
 * that are not free by its rules.
 */
function packaged(
  name: string,
  version: string,
  debian: { readonly package: string; readonly version: string; readonly sha256: string; readonly sha1: string },
  upstream: { readonly url: string; readonly sha256: string },
): Source {
  const binary = { package: debian.package, version: debian.version, suite: 'trixie', arch: 'all' };
  return { name, version, places: [...debianPlaces(binary, debian.sha256, debian.sha1), upstream] };
}

export const BINUTILS = packaged(
  'binutils',
  '2.44',
  {
    package: 'binutils-source',
    version: '2.44-3',
    sha256: '5537e9ee460ac2c02a422efdf251f12b449febf0cc54dfbcca91417b694c135f',
    sha1: 'bdb873882accacce47efd48457bb7f14d5284d7b',
  },
  {
    url: 'https://ftp.gnu.org/gnu/binutils/binutils-2.44.tar.xz',
    sha256: 'ce2017e059d63e67ddb9240e9d4ec49c2893605035cd60e92ad53177f4377237',
  },
);

export const GCC = packaged(
  'gcc',
  '14.2.0',
  {
    package: 'gcc-14-source',
    version: '14.2.0-19',
    sha256: '44e6872715a380fe08418ea42b58d3c90de7d5dfd9f525bbf4dacba415c2266a',
    sha1: '8b8cffd6ddb91406958b2b078bfa32ac576a3393',
  },
  {
    url: 'https://ftp.gnu.org/gnu/gcc/gcc-14.2.0/gcc-14.2.0.tar.xz',
    sha256: 'a7b39bc69cbf9e25826c5a60ab26477001f7c08d85cec04bc0e29cabed6f3cc9',
  },
);

const MUSL_DEBIAN = { package: 'musl', version: '1.2.5-3.1~deb13u1', suite: 'trixie' };

/** Checksum of upstream's tarball, which Debian carries unchanged. */
const MUSL_SHA256 = 'a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4';

export const MUSL: Source = {
  name: 'musl',
  version: '1.2.5',
  places: [
    ...debianPlaces(
      { ...MUSL_DEBIAN, member: 'musl_1.2.5.orig.tar.gz' },
      MUSL_SHA256,
      '36210d3423172a40ddcf83c762207c5f760b60a6',
    ),
    { url: 'https://musl.libc.org/releases/musl-1.2.5.tar.gz', sha256: MUSL_SHA256 },
  ],
};

/** Upstream's fixes since that release, from Debian's package. */
export const MUSL_FIXES: Source = {
  name: 'musl-fixes',
  version: MUSL_DEBIAN.version,
  places: debianPlaces(
    { ...MUSL_DEBIAN, member: `musl_${MUSL_DEBIAN.version}.debian.tar.xz` },
    '46fdfb271edc2f035d8d4063ff2e299734409693e781e69e4b77e0a9a495072e',
    'bbd444e005188fe6c44e5a72f7ad26afe1ba36de',
  ),
};
