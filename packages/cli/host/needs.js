/**
 * The programs and libraries of the host that NodeOS needs, what needs them, and the packages that have them. Plain
 * JavaScript without dependencies, because bin/install-dependencies reads it before anything is installed.
 */

/** @typedef {'debian' | 'fedora' | 'arch' | 'alpine' | 'brew'} Family */
/** @typedef {{ commands?: string[], alsoIn?: string[], header?: string, shared?: string[] }} Probe All must exist; of shared, one. alsoIn extends PATH. */
/** @typedef {'tests' | 'long'} Purpose What needs it, if it is no verb: tests; benchmarks and long tests */

/**
 * @typedef {object} NeedInfo
 * @property {string} need
 * @property {string} why
 * @property {Probe} probe
 * @property {string[]} verbs the verbs of nodeos that may need it
 * @property {string[]} steps the steps that cannot be built without it; `*` stands for any letters
 * @property {Purpose} [only]
 * @property {string} [brewNote] why the list for brew is empty
 * @property {string} [absent] why another list is empty
 */
/** @typedef {NeedInfo & Record<Family, string[]>} Need */

/** @param {string} names separated by spaces */
const list = (names) => names.split(' ');

/** @param {string} commands */
const run = (commands) => ({ probe: { commands: list(commands) } });

/** @param {string} verbs @param {string} steps */
const by = (verbs, steps) => ({ verbs: list(verbs), steps: steps === '' ? [] : list(steps) });
const FOR_TESTS = { verbs: [], steps: [] };

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
    ...by('start build flash toolchain', 'kernel toolchain-* erofs-utils'),
    why: 'compiles the kernel and its build tools',
    ...run('gcc g++'),
    // Except on Alpine, g++ brings the headers of the C library.
    ...linux('gcc g++', 'gcc gcc-c++', 'gcc', 'gcc g++ musl-dev linux-headers'),
    ...noKernel,
  },
  {
    need: 'make',
    ...by('start build flash toolchain', 'kernel toolchain-* erofs-utils app-native app-addon'),
    why: 'drives the kernel build',
    ...run('make'),
    ...linux('make'),
    ...noKernel,
  },
  {
    need: 'binutils',
    ...by('start build flash toolchain', 'kernel toolchain-* erofs-utils'),
    why: 'links and strips',
    ...run('ld strip readelf'),
    ...linux('binutils'),
    ...noKernel,
  },
  // Only container images lack one of these, or have busybox instead.
  {
    need: 'shell tools',
    ...by('start build toolchain', 'kernel toolchain-*'),
    why: 'scripts of the kernel build',
    ...run('bash find cmp'),
    ...linux('bash findutils diffutils'),
    ...ownTools,
  },
  {
    need: 'flex',
    ...by('start build toolchain', 'kernel'),
    why: 'kernel configuration',
    ...run('flex'),
    ...linux('flex'),
    ...noKernel,
  },
  {
    need: 'bison',
    ...by('start build toolchain', 'kernel'),
    why: 'kernel configuration',
    ...run('bison'),
    ...linux('bison'),
    ...noKernel,
  },
  {
    need: 'bc',
    ...by('start build toolchain', 'kernel'),
    why: 'kernel time constants',
    ...run('bc'),
    ...linux('bc'),
    ...noKernel,
  },
  {
    need: 'perl',
    ...by('start build toolchain', 'kernel'),
    why: 'scripts of the kernel build',
    ...run('perl'),
    ...linux('perl'),
    ...ownTools,
  },
  {
    need: 'patch',
    ...by('start build toolchain', 'kernel toolchain-musl'),
    why: 'patches of the kernel',
    ...run('patch'),
    ...linux('patch'),
    ...ownTools,
  },
  {
    need: 'LZ4',
    ...by('start build', 'archive-runtime'),
    why: 'compresses the initramfs',
    ...run('lz4'),
    ...linux('lz4'),
    brew: ['lz4'],
  },
  {
    need: 'libelf headers',
    ...by('start build toolchain', 'kernel'),
    why: "for objtool, which checks the kernel's object files",
    probe: { header: 'gelf.h' },
    ...linux('libelf-dev', 'elfutils-libelf-devel', 'libelf', 'elfutils-dev'),
    ...noKernel,
  },
  {
    need: 'xz',
    ...by('start build flash toolchain', 'kernel toolchain-* erofs-utils runtime *-xz'),
    why: 'unpacks sources, compresses images',
    ...run('xz'),
    ...linux('xz-utils', 'xz', 'xz', 'xz'),
    brew: ['xz'],
  },
  {
    need: 'bzip2',
    ...by('start build', 'tls-handshake'),
    why: 'unpacks sources',
    ...run('bzip2'),
    ...linux('bzip2'),
    ...ownTools,
  },
  {
    need: 'tar',
    ...by(
      'start build flash toolchain',
      'kernel toolchain-* erofs-utils runtime runtime-musl tls-handshake app-modules* raspi',
    ),
    why: 'unpacks sources',
    ...run('tar'),
    ...linux('tar'),
    ...ownTools,
  },
  {
    need: 'cpio',
    ...FOR_TESTS,
    why: 'checks archives in the tests',
    only: 'tests',
    ...run('cpio'),
    ...linux('cpio'),
    ...ownTools,
  },
  {
    need: 'EROFS tools',
    ...by('image', ''),
    why: 'check filesystem images (nodeos image fsck, tests)',
    only: 'tests',
    ...run('mkfs.erofs fsck.erofs dump.erofs'),
    ...linux('erofs-utils'),
    brew: ['erofs-utils'],
  },
  {
    need: 'FAT tools',
    ...by('image', ''),
    why: 'make and check FAT (nodeos image mkfs, fsck)',
    only: 'tests',
    // Debian installs dosfstools in a folder that only root has in PATH.
    probe: { commands: list('fsck.fat mkfs.fat mcopy mdir mtype'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('dosfstools mtools'),
    brew: list('dosfstools mtools'),
  },
  {
    need: 'ISO 9660 tools',
    ...FOR_TESTS,
    why: 'check boot media in the tests',
    only: 'tests',
    // Some distributions have another program than genisoimage. The tests that need it say so.
    ...run('xorriso isoinfo'),
    ...linux('xorriso genisoimage', 'xorriso genisoimage', 'libisoburn cdrtools', 'xorriso cdrkit'),
    brew: ['xorriso', 'cdrtools'],
  },
  {
    need: 'boot media tools',
    ...FOR_TESTS,
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
    ...by('start', ''),
    why: 'starts boot media in QEMU (nodeos start --format … --firmware uefi)',
    only: 'tests',
    // The places that packages/vm/media.ts knows.
    probe: { shared: list('OVMF/OVMF_CODE_4M.fd OVMF/OVMF_CODE.fd edk2/ovmf/OVMF_CODE.fd edk2/x64/OVMF_CODE.4m.fd') },
    ...linux('ovmf', 'edk2-ovmf', 'edk2-ovmf', 'ovmf'),
    ...notOnMacOS('Homebrew has no OVMF'),
  },
  {
    need: 'file',
    ...FOR_TESTS,
    why: 'checks binaries in the tests',
    only: 'tests',
    ...run('file'),
    ...linux('file'),
    ...ownTools,
  },
  {
    need: 'QEMU',
    ...by('start', ''),
    why: 'runs the images',
    ...run('qemu-system-x86_64'),
    // Fedora's qemu-system-x86 also brings every display and sound module. The emulator itself is in -core.
    ...linux('qemu-system-x86', 'qemu-system-x86-core', 'qemu-system-x86', 'qemu-system-x86_64'),
    brew: ['qemu'],
  },
  {
    need: 'qemu-img',
    ...by('build', 'qcow2 vmdk vhd'),
    why: 'converts disks (nodeos build --format qcow2, vmdk, vhd)',
    ...run('qemu-img'),
    ...linux('qemu-utils', 'qemu-img', 'qemu-img', 'qemu-img'),
    brew: ['qemu'],
  },
  {
    need: 'bmaptool',
    ...FOR_TESTS,
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
    ...by('start build toolchain', 'toolchain-gcc'),
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
    ...by('start build toolchain', 'toolchain-headers'),
    why: "installs the kernel's headers for the cross-toolchain",
    ...run('rsync'),
    ...linux('rsync'),
    ...noKernel,
  },
  {
    need: 'Python',
    ...by('start build', 'app-native app-addon'),
    why: 'node-gyp, which compiles the addons of applications',
    ...run('python3'),
    ...linux('python3', 'python3', 'python', 'python3'),
    ...ownTools,
  },
  {
    need: 'git',
    ...by('start build', ''),
    why: 'npm, for packages from Git repositories',
    ...run('git'),
    ...linux('git'),
    ...ownTools,
  },
  {
    need: 'zstd',
    ...by('start build toolchain flash', 'kernel *-zst'),
    why: 'compresses the kernel, and images (nodeos build --format disk.zst)',
    ...run('zstd'),
    ...linux('zstd'),
    brew: ['zstd'],
  },
  {
    need: 'pgrep',
    ...FOR_TESTS,
    why: 'finds processes in the tests',
    only: 'tests',
    ...run('pgrep'),
    ...linux('procps', 'procps-ng', 'procps-ng', 'procps'),
    ...ownTools,
  },
  {
    need: 'less',
    ...FOR_TESTS,
    why: 'is a pager in the tests',
    only: 'tests',
    ...run('less'),
    ...linux('less'),
    ...ownTools,
  },
  {
    need: 'tmux',
    ...FOR_TESTS,
    why: 'drives terminals in the tests',
    only: 'tests',
    ...run('tmux bash'),
    ...linux('tmux'),
    brew: ['tmux'],
  },
  {
    need: 'squashfs reader',
    ...FOR_TESTS,
    why: 'reads squashfs images in the tests',
    only: 'tests',
    ...run('unsquashfs'),
    ...linux('squashfs-tools'),
    brew: ['squashfs'],
  },
  {
    need: 'xfs tools',
    ...by('image', ''),
    why: 'make and check xfs (nodeos image mkfs, fsck)',
    only: 'tests',
    probe: { commands: list('mkfs.xfs xfs_repair'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('xfsprogs'),
    ...notOnMacOS('macOS has no package of it'),
  },
  {
    need: 'btrfs tools',
    ...by('image', ''),
    why: 'make and check btrfs (nodeos image mkfs, fsck)',
    only: 'tests',
    probe: { commands: list('mkfs.btrfs btrfs'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('btrfs-progs'),
    ...notOnMacOS('macOS has no package of it'),
  },
  {
    need: 'f2fs tools',
    ...by('image', ''),
    why: 'make and check f2fs (nodeos image mkfs, fsck, resize)',
    only: 'tests',
    probe: { commands: list('mkfs.f2fs fsck.f2fs resize.f2fs'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('f2fs-tools'),
    ...notOnMacOS('macOS has no package of it'),
  },
  {
    need: 'exfat tools',
    ...by('image', ''),
    why: 'make and check exfat (nodeos image mkfs, fsck)',
    only: 'tests',
    probe: { commands: list('mkfs.exfat fsck.exfat'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('exfatprogs'),
    ...notOnMacOS('macOS has no package of it'),
  },
  {
    need: 'FUSE',
    ...FOR_TESTS,
    why: 'mounts images as a user in the tests (nodeos store mount)',
    only: 'tests',
    ...run('fusermount3'),
    ...linux('fuse3'),
    ...notOnMacOS('FUSE is of Linux'),
  },
  {
    need: 'other shells',
    ...FOR_TESTS,
    why: 'complete command lines in the tests',
    only: 'tests',
    ...run('zsh fish'),
    ...linux('zsh fish'),
    brew: list('zsh fish'),
  },
  {
    need: 'time server',
    ...FOR_TESTS,
    why: 'tells machines the time in the tests',
    only: 'tests',
    ...run('chronyd'),
    ...linux('chrony'),
    brew: ['chrony'],
  },
  {
    need: 'container registry',
    ...FOR_TESTS,
    why: 'is a remote cache, and has container images, in the tests',
    only: 'tests',
    ...run('docker-registry'),
    debian: ['docker-registry'],
    fedora: [],
    arch: [],
    alpine: ['docker-registry'],
    absent: 'Fedora and Arch have no package of it: run that test on Debian',
    ...notOnMacOS('Homebrew has no package of it: run that test on Debian'),
  },
  {
    need: 'squashfs tools',
    ...by('oci', ''),
    why: 'make squashfs of container images',
    ...run('tar2sqfs rdsquashfs'),
    ...linux('squashfs-tools-ng'),
    arch: [],
    absent: 'Arch has squashfs-tools-ng in its user repository only',
    ...notOnMacOS('Homebrew has no package of squashfs-tools-ng: use another format'),
  },
  {
    need: 'tools for container images',
    ...FOR_TESTS,
    why: 'unpack, check and push the same images in the tests',
    only: 'tests',
    ...run('skopeo umoci buildah oci-image-tool'),
    debian: list('skopeo umoci buildah oci-image-tool'),
    fedora: [],
    arch: [],
    alpine: [],
    absent: 'not all of them are packages of other distributions: run those tests on Debian',
    ...notOnMacOS('layers are unpacked with owners and devices: run those tests on Debian'),
  },
  {
    need: 'a static BusyBox',
    ...FOR_TESTS,
    why: 'is in the container images that the tests start',
    only: 'tests',
    ...run('busybox'),
    debian: ['busybox-static'],
    fedora: ['busybox'],
    arch: ['busybox'],
    alpine: ['busybox-static'],
    ...notOnMacOS('container images are for Linux: run those tests on Debian'),
  },
  {
    need: 'CMake',
    ...FOR_TESTS,
    why: 'compiles a third-party project in the tests',
    only: 'tests',
    ...run('cmake'),
    ...linux('cmake'),
    brew: ['cmake'],
  },
  {
    need: 'Meson',
    ...FOR_TESTS,
    why: 'compiles a third-party project in the tests',
    only: 'tests',
    ...run('meson ninja'),
    ...linux('meson ninja-build', 'meson ninja-build', 'meson ninja'),
    brew: ['meson', 'ninja'],
  },
  {
    need: 'ext4 tools',
    ...by('start build flash oci image', 'data'),
    why: 'make the filesystems that keep what a machine writes (--persist, --data, boot media), and ext4 of container images',
    probe: { commands: list('mke2fs e2fsck debugfs resize2fs'), alsoIn: ['/usr/sbin', '/sbin'] },
    ...linux('e2fsprogs'),
    brew: ['e2fsprogs'],
  },
  {
    need: 'third-party NBD tools',
    ...FOR_TESTS,
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
    ...FOR_TESTS,
    why: 'checks device trees in the tests',
    only: 'tests',
    ...run('dtc'),
    ...linux('device-tree-compiler', 'dtc', 'dtc', 'dtc'),
    brew: ['dtc'],
  },
  {
    need: 'binutils for aarch64',
    ...by('build', ''),
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
    ...by('start', ''),
    why: 'boots systems for aarch64 in the long tests (nodeos start --target aarch64)',
    ...run('qemu-system-aarch64'),
    only: 'long',
    ...linux('qemu-system-arm', 'qemu-system-aarch64-core', 'qemu-system-aarch64', 'qemu-system-aarch64'),
    brew: ['qemu'],
  },
  {
    need: 'UEFI firmware for aarch64',
    ...by('start', ''),
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
    ...FOR_TESTS,
    why: 'runs programs for aarch64 in the long tests',
    ...run('qemu-aarch64'),
    only: 'long',
    ...linux('qemu-user', 'qemu-user', 'qemu-user', 'qemu-aarch64'),
    ...notOnMacOS('it runs programs for Linux on Linux'),
  },
  {
    need: 'debootstrap',
    ...FOR_TESTS,
    why: 'makes the Debian system that the benchmark compares with',
    // Debian installs it in a folder that only root has in PATH.
    probe: { commands: ['debootstrap'], alsoIn: ['/usr/sbin'] },
    only: 'long',
    ...linux('debootstrap'),
    ...notOnMacOS('the benchmark compares Linux systems: run it on Linux'),
  },
  {
    need: 'Chromium',
    ...FOR_TESTS,
    why: 'shows the pages of the documentation in the long tests',
    // Where test/long/pages.test.ts starts it. Other distributions have it elsewhere.
    probe: { commands: ['chromium'] },
    only: 'long',
    ...linux('chromium'),
    fedora: [],
    absent: 'Fedora has it as chromium-browser: run that test on Debian',
    ...notOnMacOS('run that test on Linux'),
  },
];

/** Each purpose with those that it includes. The verbs have none. @type {Record<string, (Purpose | undefined)[]>} */
export const PURPOSES = { run: [undefined], tests: [undefined, 'tests'], all: [undefined, 'tests', 'long'] };

/**
 * What a step cannot be built without.
 * @param {string} step its name
 */
export const needsOfStep = (step) =>
  NEEDS.filter(({ steps }) => steps.some((name) => new RegExp(`^${name.replace('*', '.*')}$`).test(step)));

/**
 * What has a program.
 * @param {string} program
 */
export const needOfProgram = (program) => NEEDS.find(({ probe }) => probe.commands?.includes(program));
