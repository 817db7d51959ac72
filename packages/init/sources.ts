/** The pinned source of the program that starts TLS connections; see `tls.ts`. */
import { debianPlaces, type Source } from '@nodeos/engine';

/** The long-term support branch. 3.6.0 was the first version with all parts of TLS 1.3 that are needed here. */
export const MBEDTLS: Source = {
  name: 'mbedtls',
  version: '3.6.6',
  places: debianPlaces(
    { package: 'mbedtls', version: '3.6.6-0.1~deb13u1', suite: 'trixie', member: 'mbedtls_3.6.6.orig.tar.bz2' },
    '8fb65fae8dcae5840f793c0a334860a411f884cc537ea290ce1c52bb64ca007a',
    '71dd91cc76e77a0dcf0d8020377523ed7e703d8e',
  ),
};
