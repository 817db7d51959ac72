/** The pinned sources of the projects that test the toolchain. */
import { debianPlaces, type Source } from '@nodeos/engine';

function source(name: string, version: string, debian: string, file: string, sha256: string, sha1: string): Source {
  const member = { package: name, version: debian, suite: 'trixie', member: file };
  return { name, version, places: debianPlaces(member, sha256, sha1) };
}

export const ZLIB = source(
  'zlib',
  '1.3.1',
  '1:1.3.dfsg+really1.3.1-1+deb13u1',
  'zlib_1.3.dfsg+really1.3.1.orig.tar.gz',
  '60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb',
  '3b19b81105d3436095134a648c521b678905eaac',
);
export const DOUBLE_CONVERSION = source(
  'double-conversion',
  '3.3.1',
  '3.3.1-1',
  'double-conversion_3.3.1.orig.tar.gz',
  'fe54901055c71302dcdc5c3ccbe265a6c191978f3761ce1414d0895d6b0ea90e',
  'e2b0360379d1c5e86c68efb2cf4f9aa2c69d715f',
);
export const POSIX_TESTS = source(
  'posixtestsuite',
  '1.5.2',
  '1.5.2-8',
  'posixtestsuite_1.5.2.orig.tar.gz',
  '15a2185672127cba851d35ec9d538ff6148defdbb75f99c7e9c50aeba0f94757',
  '7fa215c8e5a53f58d324cef1997edfea52f3d678',
);
