/**
 * What the firmware of the Raspberry Pi reads.
 * https://www.raspberrypi.com/documentation/computers/config_txt.html
 * https://www.raspberrypi.com/documentation/computers/legacy_config_txt.html
 */
import { basename } from 'node:path';

/** What the firmware puts before the names of the kernel, the initramfs, the command line and the device trees. */
export const SLOT_PREFIX = 'a/';

/** The names of a slot are relative to its folder. */
export const CONFIG = `# An update writes another folder, and changes this line alone.
os_prefix=${SLOT_PREFIX}
arm_64bit=1
kernel=kernel8.img
initramfs initramfs followkernel
cmdline=cmdline.txt
# The device trees are those of Linux itself.
upstream_kernel=1
# A serial console on pins 8 and 10, with a clock that stays.
enable_uart=1
# The system needs memory more than the graphics do. 16 is the least.
gpu_mem=16
disable_splash=1
`;

/**
 * The firmware looks for the names of the manufacturer's own kernel as well, and older ones look for nothing else. By
 * file name of the kernel's tree.
 */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  'bcm2837-rpi-3-b.dtb': 'bcm2710-rpi-3-b.dtb',
  'bcm2837-rpi-3-b-plus.dtb': 'bcm2710-rpi-3-b-plus.dtb',
  'bcm2837-rpi-cm3-io3.dtb': 'bcm2710-rpi-cm3.dtb',
  'bcm2837-rpi-zero-2-w.dtb': 'bcm2710-rpi-zero-2-w.dtb',
  'bcm2711-rpi-cm4-io.dtb': 'bcm2711-rpi-cm4.dtb',
};

/** All names that a device tree has on a card. @param file its path in the output of the kernel's step */
export function deviceTreeNames(file: string): string[] {
  const name = basename(file);
  const other = OTHER_NAMES[name];
  return other === undefined ? [name] : [name, other];
}

/** What QEMU, which has no firmware for these boards, starts from a card: paths on the first partition. */
export interface CardBoot {
  readonly kernel: string;
  readonly initramfs: string;
  readonly commandLine: string;
  /** The folder of the device trees, with a slash. */
  readonly trees: string;
}

/** Reads config.txt as the firmware does, as far as this project writes it. @throws Error if a line is missing */
export function readConfig(text: string): CardBoot {
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  const value = (start: string): string => {
    const line = lines.find((candidate) => candidate.startsWith(start));
    const found = line?.slice(start.length).split(/\s/)[0];
    if (found === undefined || found === '') throw new Error(`config.txt has no line ${start}…`);
    return found;
  };
  const trees = value('os_prefix=');
  return {
    trees,
    kernel: trees + value('kernel='),
    initramfs: trees + value('initramfs '),
    commandLine: trees + value('cmdline='),
  };
}
