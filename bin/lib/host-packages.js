// The host packages that building and running NodeOS needs, and their names on each distribution. This file contains
// only data and pure functions. bin/install-dependencies looks at the machine and runs the commands.

/** @typedef {'debian' | 'fedora' | 'arch' | 'alpine' | 'brew'} Family */
/** @typedef {{ commands?: string[], alsoIn?: string[], header?: string, shared?: string[] }} Probe All must exist; of shared, one. alsoIn extends PATH. */
/** @typedef {{ need: string, why: string, probe: Probe, only?: Purpose, brewNote?: string, absent?: string }} NeedInfo */
/** @typedef {'tests' | 'long'} Purpose What needs it, if it is not the command itself: tests; benchmarks and long tests */
/** @typedef {NeedInfo & Record<Family, string[]>} Need brewNote says why the list for brew is empty, absent why another one is. */

/**
 * @typedef {object} Manager
 * @property {string} command
 * @property {Family} family the column of NEEDS with its package names
 * @property {string[]} ids values of ID and ID_LIKE in os-release
 * @property {string[]} refresh the command before the installation; empty if there is none
 * @property {string[]} install the command that the packages are appended to
 * @property {boolean} root whether the commands need root
 * @property {string} hint advice for when a command fails
 */

/** @param {string} names separated by spaces */
const list = (names) => names.split(' ');

/** @param {string} commands */
const run = (commands) => ({ probe: { commands: list(commands) } });

/** Package names by family. Most distributions share them with Debian. @param {string} debian */
const linux = (debian, fedora = debian, arch = debian, alpine = debian) => {
  return { debian: list(debian), fedora: list(fedora), arch: list(arch), alpine: list(alpine) };
};

/** @param {string} brewNote */
const notOnMacOS = (brewNote) => ({ brew: [], brewNote });
const noKernel = notOnMacOS('macOS itself cannot build a Linux kernel: use a Linux container or virtual machine');
const ownTools = notOnMacOS('macOS, with the Xcode command-line tools, has its own');

/** @type {Need[]} */
export const NEEDS = [
  {
    need: 'C compiler',
    why: 'compiles the kernel and its build tools',
    ...run('gcc g++'),
    // Except on Alpine, g++ brings the headers of the C library.
    ...linux('gcc g++', 'gcc gcc-c++', 'gcc', 'gcc g++ musl-dev linux-headers'),
    ...noKernel,
  },
  { need: 'make', why: 'drives the kernel build', ...run('make'), ...linux('make'), ...noKernel },
  { need: 'binutils', why: 'links and strips', ...run('ld strip readelf'), ...linux('binutils'), ...noKernel },
  // Only container images lack one of these, or have busybox instead.
  {
    need: 'shell tools',
    why: 'scripts of the kernel build',
    ...run('bash find cmp'),
    ...linux('bash findutils diffutils'),
    ...ownTools,
  },
  { need: 'flex', why: 'kernel configuration', ...run('flex'), ...linux('flex'), ...noKernel },
  { need: 'bison', why: 'kernel configuration', ...run('bison'), ...linux('bison'), ...noKernel },
  { need: 'bc', why: 'kernel time constants', ...run('bc'), ...linux('bc'), ...noKernel },
  { need: 'perl', why: 'scripts of the kernel build', ...run('perl'), ...linux('perl'), ...ownTools },
  { need: 'patch', why: 'patches of the kernel', ...run('patch'), ...linux('patch'), ...ownTools },
  { need: 'LZ4', why: 'compresses the initramfs', ...run('lz4'), ...linux('lz4'), brew: ['lz4'] },
  {
    need: 'libelf headers',
    why: "for objtool, which checks the kernel's object files",
    probe: { header: 'gelf.h' },
    ...linux('libelf-dev', 'elfutils-libelf-devel', 'libelf', 'elfutils-dev'),
    ...noKernel,
  },
  {
    need: 'xz',
    why: 'unpacks sources, compresses images',
    ...run('xz'),
    ...linux('xz-utils', 'xz', 'xz', 'xz'),
    brew: ['xz'],
  },
  { need: 'bzip2', why: 'unpacks sources', ...run('bzip2'), ...linux('bzip2'), ...ownTools },
  { need: 'tar', why: 'unpacks sources', ...run('tar'), ...linux('tar'), ...ownTools },
  { need: 'cpio', why: 'checks archives in the tests', only: 'tests', ...run('cpio'), ...linux('cpio'), ...ownTools },
  {
    need: 'EROFS tools',
    why: 'compress the runtime on CDs; check filesystem images in the tests',
    ...run('mkfs.erofs fsck.erofs dump.erofs'),
    ...linux('erofs-utils'),
    brew: ['erofs-utils'],
  },
  {
    need: 'FAT tools',
    why: 'check FAT volumes in the tests',
    only: 'tests',
    // Debian installs dosfstools in a folder that only root has in PATH.
    probe: { commands: list('fsck.fat mkfs.fat mcopy mdir mtype'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('dosfstools mtools'),
    brew: list('dosfstools mtools'),
  },
  {
    need: 'ISO 9660 tools',
    why: 'check boot media in the tests',
    only: 'tests',
    // Some distributions have another program than genisoimage. The tests that need it say so.
    ...run('xorriso isoinfo'),
    ...linux('xorriso genisoimage', 'xorriso genisoimage', 'libisoburn cdrtools', 'xorriso cdrkit'),
    brew: ['xorriso', 'cdrtools'],
  },
  {
    need: 'boot media tools',
    why: 'check partitions and sign programs for UEFI in the tests',
    only: 'tests',
    probe: { commands: list('sgdisk sfdisk sbsign sbverify'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux(
      'gdisk fdisk sbsigntool',
      'gdisk util-linux sbsigntools',
      'gptfdisk util-linux sbsigntools',
      'sgdisk sfdisk sbsigntool',
    ),
    ...notOnMacOS('Linux has them: run the tests on Linux'),
  },
  {
    need: 'UEFI firmware',
    why: 'starts boot media in QEMU (nodeos start --format … --firmware uefi)',
    only: 'tests',
    // The places that packages/vm/media.ts knows.
    probe: { shared: list('OVMF/OVMF_CODE_4M.fd OVMF/OVMF_CODE.fd edk2/ovmf/OVMF_CODE.fd edk2/x64/OVMF_CODE.4m.fd') },
    ...linux('ovmf', 'edk2-ovmf', 'edk2-ovmf', 'ovmf'),
    ...notOnMacOS('Homebrew has no OVMF'),
  },
  { need: 'file', why: 'checks binaries in the tests', only: 'tests', ...run('file'), ...linux('file'), ...ownTools },
  {
    need: 'QEMU',
    why: 'runs the images',
    ...run('qemu-system-x86_64'),
    // Fedora's qemu-system-x86 also brings every display and sound module. The emulator itself is in -core.
    ...linux('qemu-system-x86', 'qemu-system-x86-core', 'qemu-system-x86', 'qemu-system-x86_64'),
    brew: ['qemu'],
  },
  {
    need: 'qemu-img',
    why: 'converts disks (nodeos build --format qcow2, vmdk, vhd)',
    ...run('qemu-img'),
    ...linux('qemu-utils', 'qemu-img', 'qemu-img', 'qemu-img'),
    brew: ['qemu'],
  },
  {
    need: 'bmaptool',
    why: 'checks block maps in the tests',
    only: 'tests',
    ...run('bmaptool'),
    ...linux('bmap-tools'),
    arch: [],
    alpine: [],
    absent: 'Arch and Alpine have no package of it: the tests that need it are skipped',
    ...notOnMacOS('it writes to drives of Linux'),
  },
  {
    need: 'GMP, MPFR and MPC headers',
    why: 'compile the cross-toolchain (nodeos toolchain)',
    probe: { header: 'mpc.h' },
    ...linux(
      'libgmp-dev libmpfr-dev libmpc-dev',
      'gmp-devel mpfr-devel libmpc-devel',
      'gmp mpfr libmpc',
      'gmp-dev mpfr-dev mpc1-dev',
    ),
    ...noKernel,
  },
  {
    need: 'rsync',
    why: "installs the kernel's headers for the cross-toolchain",
    ...run('rsync'),
    ...linux('rsync'),
    ...noKernel,
  },
  {
    need: 'Python',
    why: 'node-gyp, which compiles the addons of applications',
    ...run('python3'),
    ...linux('python3', 'python3', 'python', 'python3'),
    ...ownTools,
  },
  { need: 'git', why: 'npm, for packages from Git repositories', ...run('git'), ...linux('git'), ...ownTools },
  {
    need: 'zstd',
    why: 'compresses images (nodeos build --format disk.zst)',
    ...run('zstd'),
    ...linux('zstd'),
    brew: ['zstd'],
  },
  {
    need: 'pgrep',
    why: 'finds processes in the tests',
    only: 'tests',
    ...run('pgrep'),
    ...linux('procps', 'procps-ng', 'procps-ng', 'procps'),
    ...ownTools,
  },
  { need: 'less', why: 'is a pager in the tests', only: 'tests', ...run('less'), ...linux('less'), ...ownTools },
  {
    need: 'tmux',
    why: 'drives terminals in the tests',
    only: 'tests',
    ...run('tmux bash'),
    ...linux('tmux'),
    brew: ['tmux'],
  },
  {
    need: 'CMake',
    why: 'compiles a third-party project in the tests',
    only: 'tests',
    ...run('cmake'),
    ...linux('cmake'),
    brew: ['cmake'],
  },
  {
    need: 'Meson',
    why: 'compiles a third-party project in the tests',
    only: 'tests',
    ...run('meson ninja'),
    ...linux('meson ninja-build', 'meson ninja-build', 'meson ninja'),
    brew: ['meson', 'ninja'],
  },
  {
    need: 'ext4 tools',
    why: 'make the filesystems that keep what a machine writes (--persist, --data, boot media)',
    probe: { commands: list('mke2fs e2fsck'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('e2fsprogs'),
    brew: ['e2fsprogs'],
  },
  {
    need: 'third-party NBD tools',
    why: 'check the NBD server and client in the tests',
    only: 'tests',
    probe: {
      commands: list('nbdkit nbdinfo nbdcopy nbdsh qemu-img qemu-io qemu-nbd nbd-client nbd-server fio openssl'),
      alsoIn: ['/usr/sbin', '/sbin'],
    },
    ...linux(
      'nbdkit libnbd-bin python3-libnbd qemu-utils nbd-client nbd-server fio openssl',
      'nbdkit libnbd python3-libnbd qemu-img nbd fio openssl',
      'nbdkit libnbd qemu-img nbd fio openssl',
      'nbdkit libnbd py3-libnbd qemu-img nbd nbd-client fio openssl',
    ),
    ...notOnMacOS('macOS lacks most of them: run the tests on Linux'),
  },
  {
    need: 'device tree compiler',
    why: 'checks device trees in the tests',
    only: 'tests',
    ...run('dtc'),
    ...linux('device-tree-compiler', 'dtc', 'dtc', 'dtc'),
    brew: ['dtc'],
  },
  {
    need: 'binutils for aarch64',
    why: 'strip symbols from Node.js (nodeos build runtime --target aarch64 --libc glibc)',
    ...run('aarch64-linux-gnu-strip'),
    only: 'long',
    ...linux(
      'binutils-aarch64-linux-gnu',
      'binutils-aarch64-linux-gnu',
      'aarch64-linux-gnu-binutils',
      'binutils-aarch64',
    ),
    ...notOnMacOS('the runtime is built on Linux'),
  },
  {
    need: 'QEMU for aarch64',
    why: 'boots systems for aarch64 in the long tests (nodeos start --target aarch64)',
    ...run('qemu-system-aarch64'),
    only: 'long',
    ...linux('qemu-system-arm', 'qemu-system-aarch64-core', 'qemu-system-aarch64', 'qemu-system-aarch64'),
    brew: ['qemu'],
  },
  {
    need: 'UEFI firmware for aarch64',
    why: 'starts boot media for aarch64 in the long tests',
    // The places that packages/vm/media.ts knows.
    probe: {
      shared: list('AAVMF/AAVMF_CODE.fd edk2/aarch64/QEMU_EFI-pflash.raw edk2/aarch64/QEMU_CODE.fd'),
    },
    only: 'long',
    ...linux('qemu-efi-aarch64', 'edk2-aarch64', 'edk2-aarch64', 'aavmf'),
    ...notOnMacOS('Homebrew has no firmware for it'),
  },
  {
    need: 'QEMU for programs',
    why: 'runs programs for aarch64 in the long tests',
    ...run('qemu-aarch64'),
    only: 'long',
    ...linux('qemu-user', 'qemu-user', 'qemu-user', 'qemu-aarch64'),
    ...notOnMacOS('it runs programs for Linux on Linux'),
  },
  {
    need: 'debootstrap',
    why: 'makes the Debian system that the benchmark compares with',
    // Debian installs it in a folder that only root has in PATH.
    probe: { commands: ['debootstrap'], alsoIn: ['/usr/sbin'] },
    only: 'long',
    ...linux('debootstrap'),
    ...notOnMacOS('the benchmark compares Linux systems: run it on Linux'),
  },
];

/** @type {Manager[]} */
export const MANAGERS = [
  {
    command: 'apt-get',
    family: 'debian',
    ids: ['debian', 'ubuntu'],
    refresh: ['apt-get', 'update'],
    // sudo clears the environment, so the variable that suppresses configuration questions is part of the command.
    install: list('env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends'),
    root: true,
    hint: 'Is the network there, and no other apt running? On Ubuntu some packages are in universe.',
  },
  {
    command: 'dnf',
    family: 'fedora',
    ids: ['fedora', 'rhel', 'centos'],
    refresh: [], // dnf refreshes on its own
    install: list('dnf install -y --setopt=install_weak_deps=False'),
    root: true,
    hint: 'RHEL and its rebuilds have no qemu-system-x86_64: use Fedora, or install QEMU by hand.',
  },
  {
    command: 'pacman',
    family: 'arch',
    ids: ['arch', 'manjaro'],
    // Arch supports a refresh only together with an upgrade of the whole system, which is the owner's decision.
    refresh: [],
    install: list('pacman -S --needed --noconfirm'),
    root: true,
    hint: 'If it did not find a package, bring the system up to date first: pacman -Syu.',
  },
  {
    command: 'apk',
    family: 'alpine',
    ids: ['alpine'],
    refresh: ['apk', 'update'],
    install: ['apk', 'add'],
    root: true,
    hint: 'QEMU and debootstrap are in the community repository: enable it in /etc/apk/repositories.',
  },
  {
    command: 'brew',
    family: 'brew',
    ids: ['macos'],
    refresh: [], // brew refreshes on its own
    install: ['brew', 'install'],
    root: false, // brew refuses to run as root
    hint: 'Homebrew must be installed, and run as your own user rather than as root.',
  },
];

/**
 * The name of this system, then the names of similar systems, most specific first.
 * @param {string | undefined} osRelease the text of /etc/os-release, if there is one
 * @param {string} platform process.platform
 */
export const systemIds = (osRelease, platform) => {
  if (osRelease === undefined) return platform === 'darwin' ? ['macos'] : [];
  const value = (/** @type {string} */ key) =>
    new RegExp(`^${key}=(["']?)(.*)\\1\\s*$`, 'm').exec(osRelease)?.[2]?.toLowerCase() ?? '';
  return `${value('ID')} ${value('ID_LIKE')}`.split(/\s+/).filter(Boolean);
};

/** @param {string[]} ids @returns {Manager | undefined} */
export const managerFor = (ids) => ids.flatMap((id) => MANAGERS.filter((manager) => manager.ids.includes(id)))[0];

/** Each purpose with those that it includes. The command itself has none. @type {Record<string, (Purpose | undefined)[]>} */
export const PURPOSES = { run: [undefined], tests: [undefined, 'tests'], all: [undefined, 'tests', 'long'] };

/** @param {Need[]} needs @param {(probe: Probe) => boolean} isMet */
export const missing = (needs, isMet) => needs.filter(({ probe }) => !isMet(probe));

/**
 * The needs that this manager has packages for, and the commands that install them.
 * @param {Manager} manager
 * @param {Need[]} needs
 * @param {string[]} prefix such as ['sudo'], for the managers that need root
 */
export const plan = (manager, needs, prefix) => {
  const installable = needs.filter((need) => need[manager.family].length > 0);
  const packages = new Set(installable.flatMap((need) => need[manager.family]));
  const argvs = packages.size > 0 ? [manager.refresh, [...manager.install, ...packages]] : [];
  const commands = argvs.filter((argv) => argv.length > 0).map((argv) => [...(manager.root ? prefix : []), ...argv]);
  return { installable, commands };
};

/** Quotes an argv as one line for a POSIX shell. @param {string[]} argv */
export const shellLine = (argv) =>
  argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
