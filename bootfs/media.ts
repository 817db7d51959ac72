/**
 * Describes boot media. One image is a disk and, with `iso`, a CD at once; everything in it is stored once.
 *
 *     byte 0        MBR: the first stage for a BIOS
 *     sector 1      GPT
 *     sector 36     second stage, which El Torito names as well (so it starts at a multiple of 2048)
 *     32 KiB        ISO 9660: descriptors and folders
 *     1 MiB         partition 1, ESP: the unified kernel image, in which the second stage finds kernel and initramfs
 *     …             partition 2, /usr: an EROFS image
 *     …             partition 3, /data: ext4, not on a CD
 *     the end       GPT once more
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { file, regions, roundUp, writeImage, type Region } from '@nodeos/block';
import { word } from '@nodeos/contract';
import { artifact, inputPath, type Artifact, type Step } from '@nodeos/engine';
import { fat, fatSizeFor, gpt, GPT_END, GPT_TYPES, guidOf, iso, peSections, SECTOR, type Place } from '@nodeos/fs';
import { directory, type Entry } from '@nodeos/tree';
import { dataFilesystem } from './data.js';
import { efiTargetOf } from './efi.js';
import { hostFile, type HostFile } from './host-file.js';
import { hasBios } from './loaders.js';
import { partitionId, unifiedKernel, type BootParts } from './uki.js';

const MIB = 1 << 20;
/** Partitions start at multiples of this, in bytes: a multiple of all sectors, pages and most erase blocks. */
const ALIGN = MIB;
const SECOND_STAGE = { offset: 36 * SECTOR, length: 2048 };
/** Offsets in the loaders where numbers are filled in (bios/first.S, bios/second.S). */
const FIRST = { sector: 408 };
const SECOND = { table: 1008, commandLine: 1024, longest: 1023 };
/** What only a processor that QEMU emulates gets: on a busy host its timer may be late. efi/stub.c has the same. */
const EMULATED = 'no_timer_check ';
const LABEL = 'NODEOS';

/** A kind of boot medium. */
export interface MediaFormat {
  readonly name: string;
  readonly summary: string;
  readonly file: string;
  /** Whether it is a CD as well. */
  readonly isCd: boolean;
}

export const MEDIA_FORMATS: readonly MediaFormat[] = [
  { name: 'disk', summary: 'a disk, USB stick or SD card for PCs, by BIOS and UEFI', file: 'nodeos.img', isCd: false },
  {
    name: 'iso',
    summary: 'the same as a CD, which may also be written to a USB stick',
    file: 'nodeos.iso',
    isCd: true,
  },
];

/** Builds an image of that format. */
export function bootMedium(format: MediaFormat, parts: BootParts): Artifact<'image'> {
  const words = format.isCd ? [] : [word('data', 'PARTLABEL=data')];
  const { loaders } = parts;
  const usr = format.isCd ? parts.compressedUsr : parts.usr;
  const uki = unifiedKernel(`uki-${format.name}`, { ...parts, usr }, words);
  const { target } = loaders;
  const data = dataFilesystem(target);
  const step: Step = {
    name: format.name,
    target,
    recipe: import.meta.url,
    parameters: { format },
    inputs: { uki: uki.step, usr: usr.step, loaders, ...(format.isCd ? {} : { data: data.step }) },
    async build(context) {
      const { list, size } = await describe(format, {
        target: parts.loaders.target,
        uki: await hostFile(inputPath(context, 'uki', uki)),
        usr: await hostFile(inputPath(context, 'usr', usr)),
        data: format.isCd ? undefined : await hostFile(inputPath(context, 'data', data)),
        loaders: context.input('loaders'),
      });
      const image = regions(list, { size });
      await writeImage(image, join(context.dir, format.file)).finally(() => image.close());
    },
  };
  return artifact(step, 'image', format.file);
}

interface Contents {
  readonly target: Step['target'];
  readonly uki: HostFile;
  readonly usr: HostFile;
  readonly data: HostFile | undefined;
  /** The folder of the boot loaders. */
  readonly loaders: string;
}

async function describe(format: MediaFormat, contents: Contents): Promise<{ list: Region[]; size: number }> {
  const { target, uki, usr, data, loaders } = contents;
  const program = `EFI/BOOT/${efiTargetOf(target).file}`;
  const tree = [directory('EFI'), directory('EFI/BOOT'), entryOf(program, uki)];
  const espSize = await fatSizeFor(tree);
  const esp = await fat(tree, { size: espSize, label: LABEL, hiddenSectors: ALIGN / SECTOR });
  const usrAt = roundUp(ALIGN + espSize, ALIGN);
  const usrSize = roundUp(usr.size, SECTOR);
  const dataAt = roundUp(usrAt + usrSize, ALIGN);
  const size = roundUp(dataAt + (data?.size ?? 0) + GPT_END, ALIGN);
  const usrId = await partitionId(usr.file);
  const inEsp = esp.places.get(program);
  if (!inEsp) throw new Error(`${program} is not in the ESP`);
  const ukiPlace = { offset: ALIGN + inEsp.offset, length: inEsp.length };

  const bios = hasBios(target) ? await biosLoader(loaders, uki, ukiPlace) : undefined;
  const table = gpt({
    size,
    id: derivedId(usrId, 'disk'),
    firstUsable: ALIGN,
    ...(bios ? { code: bios.first } : {}),
    partitions: [
      { type: GPT_TYPES.esp, id: derivedId(usrId, 'esp'), name: 'esp', offset: ALIGN, length: espSize },
      { type: GPT_TYPES.linux, id: usrId, name: 'usr-a', offset: usrAt, length: usrSize },
      ...(data
        ? [{ type: GPT_TYPES.linux, id: derivedId(usrId, 'data'), name: 'data', offset: dataAt, length: data.size }]
        : []),
    ],
  });
  const cd = format.isCd
    ? await iso([...tree, entryOf('usr.erofs', usr)], {
        label: LABEL,
        size,
        limit: ALIGN,
        places: new Map([
          [program, ukiPlace],
          ['usr.erofs', { offset: usrAt, length: usr.size }],
        ]),
        boot: { ...(bios ? { bios: SECOND_STAGE } : {}), efi: { offset: ALIGN, length: espSize } },
      })
    : undefined;
  return {
    size,
    list: sorted([
      ...table,
      ...(bios ? [{ ...SECOND_STAGE, source: bios.second }] : []),
      ...(cd?.regions ?? []),
      ...placedAt(esp.regions, ALIGN),
      { offset: usrAt, length: usr.size, source: usr },
      ...(data ? [{ offset: dataAt, length: data.size, source: data }] : []),
    ]),
  };
}

const sorted = (list: readonly Region[]): Region[] => [...list].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));

/** The regions of an image that starts at `start` bytes of another one. */
function placedAt(list: readonly Region[], start: number): Region[] {
  let end = 0;
  return list.map((region) => {
    const offset = region.offset ?? end;
    end = offset + region.length;
    return { ...region, offset: start + offset };
  });
}

function entryOf(path: string, { file: name, size, mtime }: HostFile): Entry {
  const host = { file: name, mtime };
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size, host };
}

/** Ids that differ between builds and between uses, and are the same in every run. */
const derivedId = (usr: string, use: string): string => guidOf(createHash('sha256').update(`${usr} ${use}`).digest());

/** The stages for a BIOS, with their tables filled in. @param place of the unified kernel image on the disk */
async function biosLoader(folder: string, uki: HostFile, place: Place): Promise<{ first: Buffer; second: Buffer }> {
  const [first, second] = await Promise.all(['first', 'second'].map((name) => readFile(join(folder, name))));
  if (!first || !second) throw new Error('unreachable');
  const device = await file(uki.file, { readOnly: true });
  try {
    const sections = await peSections(device);
    const sectionOf = (name: string): Place => {
      const found = sections.get(name);
      if (!found) throw new Error(`${uki.file} has no section ${name}`);
      return found;
    };
    first.writeBigUInt64LE(BigInt(SECOND_STAGE.offset / SECTOR), FIRST.sector);
    for (const [index, name] of ['.linux', '.initrd'].entries()) {
      const { offset, length } = sectionOf(name);
      second.writeUInt32LE((place.offset + offset) / SECTOR, SECOND.table + 8 * index);
      second.writeUInt32LE(length, SECOND.table + 8 * index + 4);
    }
    const { offset, length } = sectionOf('.cmdline');
    const start = SECOND.commandLine + second.write(EMULATED, SECOND.commandLine, 'latin1');
    const room = SECOND.commandLine + SECOND.longest - start;
    if (length > room) throw new Error(`a command line of ${length} bytes: ${room} fit`);
    await device.read(second.subarray(start, start + length), offset);
  } finally {
    await device.close();
  }
  return { first, second };
}
