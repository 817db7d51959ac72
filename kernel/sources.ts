/** The pinned source of the kernel. `docs/kernel.md` says how to move the pin. */
import type { Source } from '@nodeos/build';

/**
 * Linux 6.12 LTS as Debian repacks it (without files that are not free; none of them is built here): from the host's
 * Debian mirror, else from Debian's archive of everything it ever published, which names files by their SHA-1.
 */
export const LINUX: Source = {
  name: 'linux',
  version: '6.12.107',
  places: [
    {
      debian: { package: 'linux', version: '6.12.107-1', suite: 'trixie', member: 'linux_6.12.107.orig.tar.xz' },
      sha256: 'efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919',
    },
    {
      url: 'https://snapshot.debian.org/file/b3363e415e6a3fb869b4d43a2e35eba07f0902f6',
      sha256: 'efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919',
    },
  ],
};
