/** The pinned source of the kernel. `docs/kernel.md` says how to move the pin. */
import { debianPlaces, type Source } from '@nodeos/build';

/** Linux 6.12 LTS as Debian repacks it (without files that are not free; none of them is built here). */
export const LINUX: Source = {
  name: 'linux',
  version: '6.12.107',
  places: debianPlaces(
    { package: 'linux', version: '6.12.107-1', suite: 'trixie', member: 'linux_6.12.107.orig.tar.xz' },
    'efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919',
    'b3363e415e6a3fb869b4d43a2e35eba07f0902f6',
  ),
};
