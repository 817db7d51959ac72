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
import { artifact, inputPath, unpackDebian, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import { erofsId, fat, mbr, mbrPartitionId, MBR_TYPES, SECTOR, type MbrPartition } from '@nodeos/fs';
import { directory, file, type Entry } from '@nodeos/tree';
import { dataFilesystem } from '../data.js';
import { entryAt } from '../entries.js';
import { hostFile } from '../host-file.js';
import { placedAt } from '../placed.js';
import { CONFIG, deviceTreeNames, SLOT_PREFIX } from './config.js';
import { RASPI_FIRMWARE } from './sources.js';

const MIB = 1 << 20;
/** Cards erase blocks of 4 MiB. */
const ALIGN = 4 * MIB;
/** Room for both slots. */
const BOOT_SIZE = 256 * MIB;
const LABEL = 'NODEOS';
/** Seconds. */
const WATCHDOG = 60;
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
}

/** Room for versions of the runtime that are half as large again. @param size of the image in bytes */
const slotSize = (size: number): number => roundUp(size * 1.5, 64 * MIB);

export function raspberryCard(parts: CardParts): Artifact<'image'> {
  const { kernel, initramfs, usr } = parts;
  const { target } = usr.step;
  const data = dataFilesystem(target);
  const step: Step = {
    name: 'raspi',
    target,
    recipe: import.meta.url,
    sources: { firmware: RASPI_FIRMWARE },
    tools: ['ar', 'tar'],
    inputs: { kernel: kernel.step, initramfs: initramfs.step, usr: usr.step, data: data.step },
    async build(context) {
      const [usrFile, users] = [inputPath(context, 'usr', usr), await hostFile(inputPath(context, 'data', data))];
      const id = await diskId(usrFile);
      const system = await hostFile(usrFile);
      const { boot, usrA, usrB, last } = layout(system.size, users.size);
      const words = [
        word('usr', `PARTUUID=${mbrPartitionId(id, 2)}`),
        word('data', `PARTUUID=${mbrPartitionId(id, 4)}`),
      ];
      const volume = await fat(await bootTree(context, parts, words), {
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
      const image = regions(list, { size: last.offset + last.length });
      await writeImage(image, join(context.dir, CARD_FILE)).finally(() => image.close());
    },
  };
  return artifact(step, 'image', CARD_FILE);
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
  const slot = slotSize(usr);
  const boot = { type: fat32, offset: ALIGN, length: BOOT_SIZE };
  const usrA = { type: linux, offset: ALIGN + BOOT_SIZE, length: slot };
  const usrB = { type: linux, offset: usrA.offset + slot, length: slot };
  const last = { type: linux, offset: usrB.offset + slot, length: roundUp(data, ALIGN) };
  return { boot, usrA, usrB, last };
}

async function bootTree(context: StepContext, parts: CardParts, words: readonly string[]): Promise<Entry[]> {
  const { kernel, initramfs } = parts;
  return [
    ...(await firmwareFiles(context)),
    file('config.txt', CONFIG),
    directory(SLOT_PREFIX.replace('/', '')),
    file(`${SLOT_PREFIX}cmdline.txt`, commandLine(words)),
    await entryAt(`${SLOT_PREFIX}kernel8.img`, inputPath(context, 'kernel', kernel)),
    await entryAt(`${SLOT_PREFIX}initramfs`, inputPath(context, 'initramfs', initramfs)),
    ...(await deviceTrees(context, parts)),
  ];
}

async function firmwareFiles(context: StepContext): Promise<Entry[]> {
  const folder = join(context.work, 'firmware');
  await unpackDebian(context, await context.fetch('firmware'), folder);
  const files = FIRMWARE_FILES.map((name) => entryAt(name, join(folder, 'usr/lib/raspi-firmware', name)));
  return Promise.all([...files, entryAt(LICENCE.name, join(folder, LICENCE.file))]);
}

async function deviceTrees(context: StepContext, { deviceTrees: trees }: CardParts): Promise<Entry[]> {
  const named = trees.map((tree) => {
    const path = inputPath(context, 'kernel', tree);
    return deviceTreeNames(tree.file).map((name) => entryAt(SLOT_PREFIX + name, path));
  });
  return Promise.all(named.flat());
}

/** One line: the firmware reads no further. The last console is the system's own. */
const commandLine = (words: readonly string[]): string =>
  [
    ...['console=tty0', 'console=ttyS1,115200', 'console=ttyAMA0,115200', 'quiet', 'panic=10', 'rootfstype=tmpfs'],
    ...['initramfs_options=size=90%', word('watchdog', WATCHDOG), ...words],
  ].join(' ') + '\n';
