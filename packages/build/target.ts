/**
 * The machines that images are built for: one row a target. Whatever differs between machines is a column here, so
 * that no other file asks for a machine's name.
 */
import { UsageError } from './errors.js';

export interface Machine {
  /** QEMU's `-machine` value, without the accelerator. */
  readonly machine: string;
  /** Bus of its virtio devices: `virtio-net-pci` or `virtio-net-device`. */
  readonly bus: 'pci' | 'device';
  /** How an image that is only read is attached: as memory that files are mapped from, or as a disk. */
  readonly image: 'pmem' | 'disk';
  /** What the machine needs on the kernel's command line. */
  readonly append: string;
  /** The same under software emulation. */
  readonly appendEmulated: string;
  /** The same with one processor. */
  readonly appendEmulatedAlone: string;
}

/** A cross-toolchain: GCC, binutils and musl. */
export interface Cross {
  /** The GNU triplet of its programs. */
  readonly triplet: string;
  /** musl's name of the architecture. */
  readonly muslArch: string;
  /** What GCC is configured with beside the usual. */
  readonly gcc: readonly string[];
}

export interface Target {
  readonly name: string;
  /** The kernel's `ARCH=`. */
  readonly arch: string;
  /** The GNU triplet of programs for it. */
  readonly triplet: string;
  /** Node.js's `process.arch` on it. */
  readonly nodeArch: string;
  /** Debian's name of the architecture. */
  readonly debianArch: string;
  /** `e_machine` of its ELF files (System V ABI, "ELF header"). */
  readonly elfMachine: number;
  readonly cross: Cross;
  /** The serial console, as the kernel names it. */
  readonly console: string;
  /** The kernel image that firmware boots, below the kernel's build folder. */
  readonly kernelImage: string;
  /** The QEMU program that runs it. */
  readonly qemu: string;
  /** QEMU's machines for it; the first is the default. None: it has a toolchain, but no system yet. */
  readonly machines: Readonly<Record<string, Machine>>;
}

/**
 * The kernel panics ("IO-APIC + timer doesn't work!") if ten ticks do not come in time, and on a busy host they do not: it is
 * not to try. Under KVM and Hyper-V it knows that by itself.
 */
const TIMER_WORKS = 'no_timer_check';

export const TARGETS: readonly Target[] = [
  {
    name: 'x86_64',
    arch: 'x86',
    triplet: 'x86_64-linux-gnu',
    nodeArch: 'x64',
    debianArch: 'amd64',
    elfMachine: 62,
    cross: { triplet: 'x86_64-linux-musl', muslArch: 'x86_64', gcc: [] },
    console: 'ttyS0',
    kernelImage: 'arch/x86/boot/bzImage',
    qemu: 'qemu-system-x86_64',
    machines: {
      // Without the controllers that nothing of ours is attached to: looking for SATA disks alone takes 0.3 s.
      q35: {
        machine: 'q35,sata=off,usb=off,smbus=off',
        bus: 'pci',
        image: 'pmem',
        append: '',
        appendEmulated: TIMER_WORKS,
        // The HPET does for one processor; calibrating the local APIC's timer takes 0.24 s.
        appendEmulatedAlone: 'nolapic_timer',
      },
      // With ACPI it has no timer that works without KVM's clock; without it, no way to power off but a reset.
      microvm: {
        machine: 'microvm,acpi=off,rtc=on',
        bus: 'device',
        image: 'disk', // virtio-pmem is a PCI device
        append: 'reboot=t nodeos.poweroff=reset',
        appendEmulated: TIMER_WORKS,
        appendEmulatedAlone: '',
      },
    },
  },
  {
    name: 'aarch64',
    arch: 'arm64',
    triplet: 'aarch64-linux-gnu',
    nodeArch: 'arm64',
    debianArch: 'arm64',
    elfMachine: 183,
    cross: { triplet: 'aarch64-linux-musl', muslArch: 'aarch64', gcc: [] },
    console: 'ttyAMA0',
    kernelImage: 'arch/arm64/boot/Image',
    qemu: 'qemu-system-aarch64',
    machines: {},
  },
  {
    name: 'i686',
    arch: 'x86',
    triplet: 'i386-linux-gnu',
    nodeArch: 'ia32',
    debianArch: 'i386',
    elfMachine: 3,
    cross: { triplet: 'i686-linux-musl', muslArch: 'i386', gcc: [] },
    console: 'ttyS0',
    kernelImage: 'arch/x86/boot/bzImage',
    qemu: 'qemu-system-i386',
    machines: {},
  },
  {
    name: 'armv7',
    arch: 'arm',
    triplet: 'arm-linux-gnueabihf',
    nodeArch: 'arm',
    debianArch: 'armhf',
    elfMachine: 40,
    cross: {
      triplet: 'armv7-linux-musleabihf',
      muslArch: 'arm',
      gcc: ['--with-arch=armv7-a', '--with-fpu=vfpv3-d16', '--with-float=hard'],
    },
    console: 'ttyAMA0',
    kernelImage: 'arch/arm/boot/zImage',
    qemu: 'qemu-system-arm',
    machines: {},
  },
  {
    name: 'riscv64',
    arch: 'riscv',
    triplet: 'riscv64-linux-gnu',
    nodeArch: 'riscv64',
    debianArch: 'riscv64',
    elfMachine: 243,
    cross: { triplet: 'riscv64-linux-musl', muslArch: 'riscv64', gcc: ['--with-arch=rv64gc', '--with-abi=lp64d'] },
    console: 'ttyS0',
    kernelImage: 'arch/riscv/boot/Image',
    qemu: 'qemu-system-riscv64',
    machines: {},
  },
];

export const DEFAULT_TARGET = 'x86_64';

/** The row of that name. @throws UsageError naming the known targets. */
export function targetOf(name: string): Target {
  const target = TARGETS.find((row) => row.name === name);
  if (target) return target;
  throw new UsageError(`unknown target "${name}"`, {
    hint: `the targets are: ${TARGETS.map((row) => row.name).join(', ')}`,
  });
}
