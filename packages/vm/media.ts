/** Machines that boot from a medium, by their firmware, and not from a kernel that QEMU is given. */
import { existsSync } from 'node:fs';
import { NodeosError } from '@nodeos/base';
import { word } from '@nodeos/contract';
import type { Board, Firmware } from '@nodeos/targets';
import { escaped } from './escaped.js';

/** How a medium is attached. https://www.qemu.org/docs/master/system/device-emulation.html */
const DRIVES = {
  virtio: { readOnly: false, on: 'none', devices: ['virtio-blk-pci,drive=medium'] },
  usb: {
    readOnly: false,
    on: 'none',
    devices: ['qemu-xhci,id=usb', 'usb-storage,bus=usb.0,removable=on,drive=medium'],
  },
  sata: { readOnly: false, on: 'none', devices: ['ahci,id=sata', 'ide-hd,bus=sata.0,drive=medium'] },
  nvme: { readOnly: false, on: 'none', devices: ['nvme,serial=nodeos,drive=medium'] },
  cdrom: { readOnly: true, on: 'none', devices: ['ahci,id=sata', 'ide-cd,bus=sata.0,drive=medium'] },
  card: { readOnly: false, on: 'sd', devices: [] },
} as const;

export type Drive = keyof typeof DRIVES;
export const DRIVE_NAMES = Object.keys(DRIVES) as readonly Drive[];

/** UEFI firmware by target: the code and the variables, where distributions put them, and what to install. */
const UEFI: Readonly<
  Record<string, { readonly packages: string; readonly places: readonly (readonly [code: string, vars: string])[] }>
> = {
  x86_64: {
    packages: 'ovmf or edk2-ovmf',
    places: [
      ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'], // Debian, Ubuntu
      ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
      ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'], // Fedora
      ['/usr/share/edk2/x64/OVMF_CODE.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'], // Arch
    ],
  },
  aarch64: {
    packages: 'qemu-efi-aarch64 or edk2-aarch64',
    places: [
      ['/usr/share/AAVMF/AAVMF_CODE.fd', '/usr/share/AAVMF/AAVMF_VARS.fd'], // Debian, Ubuntu
      ['/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw', '/usr/share/edk2/aarch64/vars-template-pflash.raw'], // Fedora
      ['/usr/share/edk2/aarch64/QEMU_CODE.fd', '/usr/share/edk2/aarch64/QEMU_VARS.fd'], // Arch
    ],
  },
};

/** What starts from the medium. */
const FIRMWARES: Readonly<Record<Firmware, (medium: Medium, board: Board) => string[]>> = {
  bios: () => [],
  uefi: uefiArguments,
  raspi: cardArguments,
};

export const FIRMWARE_NAMES = Object.keys(FIRMWARES) as readonly Firmware[];

export interface Medium {
  /** The image. */
  readonly path: string;
  /** QEMU's name of its format. Default: raw. */
  readonly format?: 'raw' | 'qcow2' | 'vmdk' | 'vpc';
  /** The image keeps what the machine writes. Default: the writes are lost at the machine's end. */
  readonly keeps?: boolean;
  readonly drive: Drive;
  readonly firmware: Firmware;
  /** What QEMU starts in place of a firmware that it does not have: files of the card, and the words for the kernel. */
  readonly card?: CardFiles;
}

export interface CardFiles {
  readonly kernel: string;
  readonly initramfs: string;
  readonly deviceTree: string;
  readonly commandLine: string;
}

/** QEMU's arguments for the medium and its firmware. @throws NodeosError if the firmware is not installed */
export function mediumArguments(medium: Medium, board: Board): string[] {
  const { path, format = 'raw', keeps = false, drive, firmware } = medium;
  const { readOnly, on, devices } = DRIVES[drive];
  const { cardBus } = board.emulator;
  const access = readOnly ? 'media=cdrom,readonly=on' : `snapshot=${keeps ? 'off' : 'on'}`;
  return [
    ...FIRMWARES[firmware](medium, board),
    ...[
      '-drive',
      `if=${cardBus === undefined ? on : 'none'},id=medium,format=${format},${access},file=${escaped(path)}`,
    ],
    ...(cardBus === undefined ? [] : ['-device', `sd-card,drive=medium,bus=${cardBus}`]),
    ...devices.flatMap((device) => ['-device', device.includes('drive=') ? `${device},bootindex=0` : device]),
  ];
}

function uefiArguments(_: Medium, { target }: Board): string[] {
  const known = UEFI[target];
  const found = known?.places.find((paths) => paths.every((path) => existsSync(path)));
  if (!found)
    throw new NodeosError(`there is no UEFI firmware for QEMU (${target})`, {
      hint: `install it: the package is called ${known?.packages}`,
    });
  const [code, variables] = found;
  return [
    ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
    ...['-drive', `if=pflash,unit=1,format=raw,snapshot=on,file=${variables}`],
  ];
}

function cardArguments({ card }: Medium): string[] {
  if (!card) throw new TypeError('a card needs the files that its firmware would start');
  const { kernel, initramfs, deviceTree, commandLine } = card;
  // QEMU resets a Raspberry Pi as soon as its watchdog is started.
  const append = `${commandLine} ${word('watchdog', 0)}`;
  return ['-kernel', kernel, '-initrd', initramfs, '-dtb', deviceTree, '-append', append];
}
