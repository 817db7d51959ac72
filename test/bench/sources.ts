/** The pinned source of what binaries are compared by. */
import { debianPlaces, type Source } from '@nodeos/engine';

/** Node.js's own tests: the newest of Debian's that has them. What newer ones changed fails with every binary. */
export const NODE_TESTS: Source = {
  name: 'node-tests',
  version: '24.21.0+dfsg+~cs24.13.4-1',
  places: debianPlaces(
    {
      package: 'nodejs',
      version: '24.21.0+dfsg+~cs24.13.4-1',
      suite: 'forky',
      member: 'nodejs_24.21.0+dfsg+~cs24.13.4.orig.tar.xz',
    },
    'e6e0d1a00dfc9e31ab2b074fd99979a48be17c18e8e3edc14306736069bb8f54',
    '770210a6fe4f7626885ddc43cb7b16f59154629f',
  ),
};

/** fs-extra's own tests: the package of the registry has none. */
export const FS_EXTRA_TESTS: Source = {
  name: 'fs-extra-tests',
  version: '10.1.0+~9.0.13-1',
  places: debianPlaces(
    {
      package: 'node-fs-extra',
      version: '10.1.0+~9.0.13-1',
      suite: 'bookworm',
      member: 'node-fs-extra_10.1.0+~9.0.13.orig.tar.gz',
    },
    '1216bcebf696c9e1245fce9149f03f14b1828aee5b8af92b474381a41d0cbf0b',
    '40bf6da96e73ad86841d3cb87c2999bc4b046f98',
  ),
};
