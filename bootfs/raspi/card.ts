/**
 * Describes SD cards for the Raspberry Pi 3, 3+, Zero 2 W and 4. The firmware reads no GPT on all of them, so the table is
 * an MBR.
 *
 *     4 MiB   partition 1: FAT32 with the firmware, config.txt, and a folder for each slot: kernel, initramfs, device trees
 *     …       partition 2, slot A of /usr: an EROFS image
 *     …       partition 3, slot B of /usr: empty
 *     …       partition 4, /data: ext4
 *
 * https://www.raspberrypi.com/documentation/computers/configuration.html#boot-folder-contents
 * https://www.raspberrypi.com/documentation/computers/config_txt.html
 */
import { join } from 'node:path';
import { regions, roundUp, writeImage, type Region } from '@nodeos/block';
import { word } from '@nodeos/contract';
import { artifact, inputPath, unpackDebian, type Artifact, type Step } from '@nodeos/engine';
import { erofsId, fat, mbr, mbrPartitionId, MBR_TYPES, SECTOR, type Image, type MbrPartition } from '@nodeos/fs';
import { directory, file, type Entry } from '@nodeos/tree';
import { dataFilesystem } from '../data.js';
import { hostFile } from '../host-file.js';
import { entryAt, placedAt, slotSize, WATCHDOG } from '../layout.js';
import { CONFIG, deviceTreeNames, SLOT_PREFIX } from './config.js';
import { RASPI_FIRMWARE } from './sources.js';

const MIB = 1 << 20;
/** Cards erase blocks of 4 MiB. */
const ALIGN = 4 * MIB;
/** Room for both slots. */
const BOOT_SIZE = 256 * MIB;
const LABEL = 'NODEOS';
export const CARD_FILE = 'nodeos-raspi.img';

/** What the firmware loads by itself, for the models before the 4 and for the 4. */
const FIRMWARE_FILES = ['bootcode.bin', 'start.elf', 'fixup.dat', 'start4.elf', 'fixup4.dat'] as const;
const LICENCE = { file: 'usr/share/doc/raspi-firmware/copyright', name: 'LICENCE.firmware' };

/** The parts of a system that a card holds. */
export interface CardParts {
  readonly kernel: Artifact<'kernel'>;
  readonly deviceTrees: readonly Artifact<'file'>[];
  /** The system without the runtime. */
  readonly initramfs: Artifact<'initramfs'>;
  /** The runtime as an EROFS image for /usr. */
  readonly usr: Artifact<'image'>;
  /** The user's words for the kernel's command line. */
  readonly words: readonly string[];
}

export function raspberryCard(parts: CardParts): Artifact<'image'> {
  const { kernel, initramfs, usr, words } = parts;
  const { target } = usr.step;
  const data = dataFilesystem(target);
  const step: Step = {
    name: 'raspi',
    target,
    recipe: import.meta.url,
    parameters: { words },
    sources: { firmware: RASPI_FIRMWARE },
    tools: ['ar', 'tar'],
    inputs: { kernel: kernel.step, initramfs: initramfs.step, usr: usr.step, data: data.step },
    async build(context) {
      const firmware = join(context.work, 'firmware');
      await unpackDebian(context, await context.fetch('firmware'), firmware);
      const { regions: list, size } = await describeCard({
        firmware,
        kernel: inputPath(context, 'kernel', kernel),
        deviceTrees: parts.deviceTrees.map((tree) => inputPath(context, 'kernel', tree)),
        initramfs: inputPath(context, 'initramfs', initramfs),
        usr: inputPath(context, 'usr', usr),
        data: inputPath(context, 'data', data),
        words,
      });
      const image = regions(list, { size });
      await writeImage(image, join(context.dir, CARD_FILE)).finally(() => image.close());
    },
  };
  return artifact(step, 'image', CARD_FILE);
}

/** Paths of what a card holds, and the user's words for the kernel's command line. */
export interface CardContents {
  /** The folder of the unpacked package with the firmware. */
  readonly firmware: string;
  readonly kernel: string;
  readonly deviceTrees: readonly string[];
  readonly initramfs: string;
  /** An EROFS image. */
  readonly usr: string;
  /** An ext4 image. */
  readonly data: string;
  readonly words: readonly string[];
}

export async function describeCard(contents: CardContents): Promise<Image> {
  const [system, users] = [await hostFile(contents.usr), await hostFile(contents.data)];
  const { boot, usrA, usrB, last } = layout(system.size, users.size);
  const id = await diskId(contents.usr);
  const volume = await fat(await bootTree(contents, id), {
    ...{ size: boot.length, hiddenSectors: boot.offset / SECTOR },
    ...{ bits: 32, label: LABEL },
  });
  const table = mbr({ id, partitions: [boot, usrA, usrB, last] });
  const list: Region[] = [
    { offset: 0, length: table.length, source: table },
    ...placedAt(volume.regions, boot.offset),
    { offset: usrA.offset, length: system.size, source: system },
    { offset: last.offset, length: users.size, source: users },
  ];
  return { regions: list, size: last.offset + last.length };
}

/** An id that differs between builds, and is the same in every run. */
const diskId = async (usr: string): Promise<number> => (await erofsId(usr)).readUInt32LE(0);

interface Layout {
  readonly boot: MbrPartition;
  readonly usrA: MbrPartition;
  readonly usrB: MbrPartition;
  readonly last: MbrPartition;
}

/** @param usr bytes of the runtime's image @param data bytes of the users' filesystem */
function layout(usr: number, data: number): Layout {
  const { fat32, linux } = MBR_TYPES;
  const slot = slotSize(usr, 64 * MIB);
  const boot = { type: fat32, offset: ALIGN, length: BOOT_SIZE };
  const usrA = { type: linux, offset: ALIGN + BOOT_SIZE, length: slot };
  const usrB = { type: linux, offset: usrA.offset + slot, length: slot };
  const last = { type: linux, offset: usrB.offset + slot, length: roundUp(data, ALIGN) };
  return { boot, usrA, usrB, last };
}

async function bootTree(
  { firmware, kernel, deviceTrees, initramfs, words }: CardContents,
  id: number,
): Promise<Entry[]> {
  const inFirmware = (name: string): string => join(firmware, 'usr/lib/raspi-firmware', name);
  const trees = deviceTrees.flatMap((path) => deviceTreeNames(path).map((name) => entryAt(SLOT_PREFIX + name, path)));
  return [
    ...(await Promise.all(FIRMWARE_FILES.map((name) => entryAt(name, inFirmware(name))))),
    await entryAt(LICENCE.name, join(firmware, LICENCE.file)),
    file('config.txt', CONFIG),
    directory(SLOT_PREFIX.replace('/', '')),
    file(`${SLOT_PREFIX}cmdline.txt`, commandLine(id, words)),
    await entryAt(`${SLOT_PREFIX}kernel8.img`, kernel),
    await entryAt(`${SLOT_PREFIX}initramfs`, initramfs),
    ...(await Promise.all(trees)),
  ];
}

/**
 * One line: the firmware reads no further. The serial port on the pins is the first of these two or the second, by the
 * model; the system uses all consoles.
 */
const commandLine = (id: number, words: readonly string[]): string =>
  [
    ...['console=tty0', 'console=ttyS1,115200', 'console=ttyAMA0,115200', 'quiet', 'panic=10', 'rootfstype=tmpfs'],
    ...['initramfs_options=size=90%', word('watchdog', WATCHDOG)],
    word('usr', `PARTUUID=${mbrPartitionId(id, 2)}`),
    word('data', `PARTUUID=${mbrPartitionId(id, 4)}`),
    ...words,
  ].join(' ') + '\n';
