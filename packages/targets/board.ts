/**
 * The machines that systems boot on, one row per board. Every difference between machines is a column here, so no other
 * file checks a board's name.
 */
import { UsageError } from '@nodeos/base';
import type { Target } from './target.js';

/** What starts a boot medium: a PC's BIOS, UEFI, or the firmware of the Raspberry Pi. */
export type Firmware = 'bios' | 'uefi' | 'raspi';

/** How QEMU emulates the board. */
export interface Emulator {
  /** The QEMU program: `qemu-system-…`. */
  readonly program: string;
  /** The value of `-machine`, without the accelerator. */
  readonly machine: string;
  /** The file of the kernel's step that QEMU starts without a firmware. */
  readonly kernel: 'vmlinux' | 'kernel';
  /** The value of `-cpu` under software emulation: all that Node.js profits from. Undefined: the board's own. */
  readonly cpuEmulated?: string;
  /** The only size of memory and number of processors that the board has. Undefined: any. */
  readonly fixed?: { readonly memory: string; readonly cpus: number };
  /**
   * The bus of the virtio devices. It selects `virtio-net-pci` or `virtio-net-device`. A board with `usb` has no such
   * devices, and so no ports to the host: it boots from an SD card alone.
   */
  readonly bus: 'pci' | 'device' | 'usb';
  /** How a read-only image is attached: as persistent memory that files are mapped from, or as a disk. */
  readonly image: 'pmem' | 'disk';
  /** QEMU's path of the bus that an SD card is on, where it is not the one that QEMU chooses. */
  readonly cardBus?: string;
  /** Parts of the device tree that QEMU's model of the board lacks: `/path/of/node`, or `/path/of/node:property`. */
  readonly lacks?: readonly string[];
  /** Extra words for the kernel command line. */
  readonly append: string;
  /** Extra words under software emulation. */
  readonly appendEmulated: string;
  /** Extra words under software emulation with one processor. */
  readonly appendEmulatedAlone: string;
}

export interface Board {
  /** Unique among the boards of a target. */
  readonly name: string;
  /** The name of the board's target. */
  readonly target: string;
  /** The kernel's name of the serial console. */
  readonly console: string;
  /** The kernel image that the firmware boots, relative to the kernel's build folder. */
  readonly kernelImage: string;
  /** What starts boot media. The first one is the default. */
  readonly firmwares: readonly Firmware[];
  /** The file of the device tree that its firmware takes from the boot medium. */
  readonly deviceTree?: string;
  readonly emulator: Emulator;
}

/**
 * Without this word the kernel panics ("IO-APIC + timer doesn't work!") if ten ticks are late, as on a busy host. Under
 * KVM and Hyper-V the kernel already knows that the timer works.
 */
const TIMER_WORKS = 'no_timer_check';

const PC = { target: 'x86_64', console: 'ttyS0', kernelImage: 'arch/x86/boot/bzImage' } as const;
const PC_EMULATOR = { program: 'qemu-system-x86_64', kernel: 'vmlinux', cpuEmulated: 'max' } as const;

const ARM = { target: 'aarch64', console: 'ttyAMA0', kernelImage: 'arch/arm64/boot/Image' } as const;
const ARM_EMULATOR = {
  program: 'qemu-system-aarch64',
  kernel: 'kernel',
  append: '',
  appendEmulated: '',
  appendEmulatedAlone: '',
} as const;

/** All boards. The first board of a target is its default. */
export const BOARDS: readonly Board[] = [
  {
    ...PC,
    name: 'q35',
    firmwares: ['bios', 'uefi'],
    emulator: {
      ...PC_EMULATOR,
      // The unused controllers are off, because probing for SATA disks alone takes 0.3 s.
      machine: 'q35,sata=off,usb=off,smbus=off',
      bus: 'pci',
      image: 'pmem',
      append: '',
      appendEmulated: TIMER_WORKS,
      // One processor needs only the HPET. Calibrating the local APIC's timer takes 0.24 s.
      appendEmulatedAlone: 'nolapic_timer',
    },
  },
  {
    ...PC,
    name: 'microvm',
    firmwares: [],
    emulator: {
      ...PC_EMULATOR,
      // With ACPI the machine has no timer that works without KVM's clock. Without ACPI it can only power off by a
      // reset.
      machine: 'microvm,acpi=off,rtc=on',
      bus: 'device',
      image: 'disk', // virtio-pmem is a PCI device
      append: 'reboot=t nodeos.poweroff=reset',
      appendEmulated: TIMER_WORKS,
      appendEmulatedAlone: '',
    },
  },
  {
    ...ARM,
    name: 'virt',
    firmwares: ['uefi'],
    emulator: {
      ...ARM_EMULATOR,
      machine: 'virt',
      // The real algorithm for signed pointers takes most of the time of emulated code that uses them.
      cpuEmulated: 'max,pauth-impdef=on',
      bus: 'pci',
      image: 'disk', // QEMU has no virtio-pmem for this machine
    },
  },
  {
    ...ARM,
    name: 'raspi3',
    firmwares: ['raspi'],
    deviceTree: 'bcm2837-rpi-3-b.dtb',
    emulator: { ...ARM_EMULATOR, machine: 'raspi3b', fixed: { memory: '1G', cpus: 4 }, bus: 'usb', image: 'disk' },
  },
  {
    ...ARM,
    name: 'raspi4',
    firmwares: ['raspi'],
    deviceTree: 'bcm2711-rpi-4-b.dtb',
    emulator: {
      ...ARM_EMULATOR,
      machine: 'raspi4b', // from QEMU 9 on
      fixed: { memory: '2G', cpus: 4 },
      bus: 'usb',
      image: 'disk',
      cardBus: 'main-system-bus/generic-sdhci/sd-bus',
      lacks: [
        ...['/soc/hvs@7e400000', '/soc/vec@7ec13000', '/soc/clock@7ef00000', '/soc/interrupt-controller@7ef00100'],
        ...['/soc/pixelvalve@7e206000', '/soc/pixelvalve@7e207000', '/soc/pixelvalve@7e20a000'],
        ...['/soc/pixelvalve@7e216000', '/soc/pixelvalve@7ec12000', '/soc/hdmi@7ef00700', '/soc/hdmi@7ef05700'],
        ...['/soc/i2c@7ef04500', '/soc/i2c@7ef09500'],
        // Its interrupt never ends.
        '/soc/serial@7e215040',
        // Pins of the firmware switch the power and the voltage of the card.
        ...['/emmc2bus/mmc@7e340000:vmmc-supply', '/emmc2bus/mmc@7e340000:vqmmc-supply'],
      ],
    },
  },
];

/** The boards of a target. The list is empty for a target that has a toolchain but no system yet. */
export const boardsOf = (target: Target): readonly Board[] => BOARDS.filter((board) => board.target === target.name);

/** Boards that people ask for, and why they are not there. */
const MISSING: ReadonlyMap<string, string> = new Map([
  ['raspi5', 'the devices of the Raspberry Pi 5 are behind its RP1 chip, which Linux 6.12 does not know'],
]);

/**
 * Finds a board of a target.
 * @param name default: the target's first board
 * @throws UsageError naming the known boards if there is no such board
 */
export function boardOf(target: Target, name?: string): Board {
  const boards = boardsOf(target);
  const board = name === undefined ? boards[0] : boards.find((row) => row.name === name);
  if (board) return board;
  const why = name === undefined ? undefined : MISSING.get(name);
  if (why !== undefined) throw new UsageError(`there is no machine ${name} yet: ${why}`);
  const [first] = boards;
  throw new UsageError(
    name === undefined ? `${target.name} has no machine` : `${target.name} has no machine "${name}"`,
    {
      ...(first === undefined ? {} : { hint: `it has: ${boards.map((row) => row.name).join(', ')}` }),
    },
  );
}
