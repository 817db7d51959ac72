/**
 * The machines that systems boot on: one row a board. Whatever differs between machines is a column here, so that no other
 * file asks for a board's name.
 */
import { UsageError } from '@nodeos/base';
import type { Target } from './target.js';

/** How QEMU makes such a machine. */
export interface Emulator {
  /** The program: `qemu-system-…`. */
  readonly program: string;
  /** The value of `-machine`, without the accelerator. */
  readonly machine: string;
  /** The bus of its virtio devices: `virtio-net-pci` or `virtio-net-device`. */
  readonly bus: 'pci' | 'device';
  /** How an image that is only read is attached: as memory that files are mapped from, or as a disk. */
  readonly image: 'pmem' | 'disk';
  /** Words for the kernel's command line. */
  readonly append: string;
  /** More of them under software emulation. */
  readonly appendEmulated: string;
  /** More of them under software emulation with one processor. */
  readonly appendEmulatedAlone: string;
}

export interface Board {
  /** Unique among the boards of a target. */
  readonly name: string;
  /** The name of its target. */
  readonly target: string;
  /** The serial console, as the kernel names it. */
  readonly console: string;
  /** The kernel image that its firmware boots, below the kernel's build folder. */
  readonly kernelImage: string;
  readonly emulator: Emulator;
}

/**
 * Without it the kernel panics ("IO-APIC + timer doesn't work!") if ten ticks do not come in time, as on a busy host. Under
 * KVM and Hyper-V it knows by itself that the timer works.
 */
const TIMER_WORKS = 'no_timer_check';

const PC = { target: 'x86_64', console: 'ttyS0', kernelImage: 'arch/x86/boot/bzImage' } as const;

/** The first one of a target is its default. */
export const BOARDS: readonly Board[] = [
  {
    ...PC,
    name: 'q35',
    emulator: {
      program: 'qemu-system-x86_64',
      // Nothing is attached to the controllers that are off: looking for SATA disks alone takes 0.3 s.
      machine: 'q35,sata=off,usb=off,smbus=off',
      bus: 'pci',
      image: 'pmem',
      append: '',
      appendEmulated: TIMER_WORKS,
      // The HPET is enough for one processor; calibrating the local APIC's timer takes 0.24 s.
      appendEmulatedAlone: 'nolapic_timer',
    },
  },
  {
    ...PC,
    name: 'microvm',
    emulator: {
      program: 'qemu-system-x86_64',
      // With ACPI it has no timer that works without KVM's clock; without it, it can only power off by a reset.
      machine: 'microvm,acpi=off,rtc=on',
      bus: 'device',
      image: 'disk', // virtio-pmem is a PCI device
      append: 'reboot=t nodeos.poweroff=reset',
      appendEmulated: TIMER_WORKS,
      appendEmulatedAlone: '',
    },
  },
];

/** The boards of a target; none if it has a toolchain, but no system yet. */
export const boardsOf = (target: Target): readonly Board[] => BOARDS.filter((board) => board.target === target.name);

/**
 * @param name default: the target's first board
 * @throws UsageError naming the boards there are
 */
export function boardOf(target: Target, name?: string): Board {
  const boards = boardsOf(target);
  const board = name === undefined ? boards[0] : boards.find((row) => row.name === name);
  if (board) return board;
  const [first] = boards;
  throw new UsageError(
    name === undefined ? `${target.name} has no machine` : `${target.name} has no machine "${name}"`,
    {
      ...(first === undefined ? {} : { hint: `it has: ${boards.map((row) => row.name).join(', ')}` }),
    },
  );
}
