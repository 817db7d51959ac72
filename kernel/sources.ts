/** The pinned source of the kernel. `docs/kernel.md` says how to move the pin. */
import { debianPlaces, type Source } from '@nodeos/engine';

/**
 * Linux 6.12 LTS with Debian's fixes, from the package that Debian makes for compiling a kernel. The source package has
 * the same code, but mirrors do not always have its tarball.
 */
export const LINUX: Source = {
  name: 'linux',
  version: '6.12.118',
  places: debianPlaces(
    { package: 'linux-source-6.12', version: '6.12.118-1', suite: 'trixie', arch: 'all' },
    'b75bb2e78a5c7762254e2af7685085c788a67eb342cb4092ad2a05eaf9fc33b7',
    '9aa07615a8b892e5b713596998ebd85b31d58958',
  ),
};

/**
 * Paths in the source that no kernel needs: a fifth of all files. Every configuration reads `Documentation/Kconfig`, and
 * makefiles and Kconfig files of one architecture are included by others, so these stay.
 */
export const UNNEEDED_PATHS = ['Documentation/*/*', 'tools/perf', 'tools/testing'];
