/** The pinned source of the kernel. `docs/kernel.md` says how to move the pin. */
import { debianPlaces, type Source } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';

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

/** The folders of `arch/`. */
const ARCHITECTURES = [
  ...['alpha', 'arc', 'arm', 'arm64', 'csky', 'hexagon', 'loongarch', 'm68k', 'microblaze', 'mips', 'nios2'],
  ...['openrisc', 'parisc', 'powerpc', 'riscv', 's390', 'sh', 'sparc', 'um', 'x86', 'xtensa'],
];
/** Architectures whose kernels need files of others: device trees of arm64 include those of arm, and Kconfig files. */
const NEEDS: Readonly<Record<string, readonly string[]>> = { arm64: ['arm', 'x86'] };

/**
 * Paths in the source that no kernel for the target needs: two of five files. Every configuration reads
 * `Documentation/Kconfig` and `crypto/Kconfig` of all architectures, so these stay.
 */
export function unneededPaths({ arch }: Target): string[] {
  const needed = [arch, ...(NEEDS[arch] ?? [])];
  const others = ARCHITECTURES.filter((name) => !needed.includes(name));
  const folders = others.flatMap((name) => [`arch/${name}/[!c]*`, `arch/${name}/c[!r]*`]);
  return [...folders, 'Documentation/*/*', 'tools/perf', 'tools/testing'];
}
