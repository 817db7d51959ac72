/** The pinned sources of the EROFS tools: upstream's tarballs, as Debian has them. */
import { debianPlaces, type Source } from '@nodeos/engine';

export const EROFS_UTILS: Source = {
  name: 'erofs-utils',
  version: '1.8.6',
  places: debianPlaces(
    { package: 'erofs-utils', version: '1.8.6-1', suite: 'trixie', member: 'erofs-utils_1.8.6.orig.tar.gz' },
    '5b221dc3fd6d151425b30534ede46fb7a90dc233a8659cba0372796b0a066547',
    '8ac3aca859fc74e0dc934b4ffe9ad615c59a0fbc',
  ),
};

export const LIBZSTD: Source = {
  name: 'libzstd',
  version: '1.5.7',
  places: debianPlaces(
    { package: 'libzstd', version: '1.5.7+dfsg-1', suite: 'trixie', member: 'libzstd_1.5.7+dfsg.orig.tar.xz' },
    '0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5',
    '232037627d9d8bd80033e4316bdb62f737c9968f',
  ),
};
