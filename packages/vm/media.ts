/** Machines that boot from a medium, by their firmware, and not from a kernel that QEMU is given. */
import { existsSync } from 'node:fs';
import { NodeosError } from '@nodeos/base';
import { escaped } from './escaped.js';

/** How a medium is attached. https://www.qemu.org/docs/master/system/device-emulation.html */
const DRIVES = {
  virtio: { readOnly: false, devices: ['virtio-blk-pci,drive=medium'] },
  usb: { readOnly: false, devices: ['qemu-xhci,id=usb', 'usb-storage,bus=usb.0,removable=on,drive=medium'] },
  sata: { readOnly: false, devices: ['ahci,id=sata', 'ide-hd,bus=sata.0,drive=medium'] },
  nvme: { readOnly: false, devices: ['nvme,serial=nodeos,drive=medium'] },
  cdrom: { readOnly: true, devices: ['ahci,id=sata', 'ide-cd,bus=sata.0,drive=medium'] },
} as const;

export type Drive = keyof typeof DRIVES;
export const DRIVE_NAMES = Object.keys(DRIVES) as readonly Drive[];

/** UEFI firmware for x86_64: the code and the variables, where distributions put them. */
const OVMF: readonly (readonly [code: string, variables: string])[] = [
  ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'], // Debian, Ubuntu
  ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
  ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'], // Fedora
  ['/usr/share/edk2/x64/OVMF_CODE.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'], // Arch
];

/** What starts from the medium. */
const FIRMWARES = { bios: () => [], uefi: uefiArguments } as const;

export type Firmware = keyof typeof FIRMWARES;
export const FIRMWARE_NAMES = Object.keys(FIRMWARES) as readonly Firmware[];

export interface Medium {
  /** The image. */
  readonly path: string;
  /** The image keeps what the machine writes. Default: the writes are lost at the machine's end. */
  readonly keeps?: boolean;
  readonly drive: Drive;
  readonly firmware: Firmware;
}

/** QEMU's arguments for the medium and its firmware. @throws NodeosError if the firmware is not installed */
export function mediumArguments({ path, keeps = false, drive, firmware }: Medium): string[] {
  const { readOnly, devices } = DRIVES[drive];
  const access = readOnly ? 'media=cdrom,readonly=on' : `snapshot=${keeps ? 'off' : 'on'}`;
  return [
    ...FIRMWARES[firmware](),
    ...['-drive', `if=none,id=medium,format=raw,${access},file=${escaped(path)}`],
    ...devices.flatMap((device) => ['-device', device.includes('drive=') ? `${device},bootindex=0` : device]),
  ];
}

function uefiArguments(): string[] {
  const found = OVMF.find((paths) => paths.every((path) => existsSync(path)));
  if (!found)
    throw new NodeosError('there is no UEFI firmware for QEMU (OVMF)', {
      hint: 'install it (the package is called ovmf or edk2-ovmf), or boot by the BIOS: --firmware bios',
    });
  const [code, variables] = found;
  return [
    ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
    ...['-drive', `if=pflash,unit=1,format=raw,snapshot=on,file=${variables}`],
  ];
}
