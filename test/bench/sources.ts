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
