/**
 * Describes a disk with two slots for updates. A new one has nothing in slot b.
 *
 *     byte 0        MBR: the first stage for a BIOS
 *     sector 1      GPT
 *     sector 36     second stage
 *     sector 48     state: which slot starts (boot-state.ts)
 *     sector 56     state, second copy
 *     1 MiB         partition 1, ESP: the program for UEFI that chooses a slot. Nothing ever writes to it
 *     …             partitions 2 and 3, boot-a and boot-b: a head (slot-head.ts) and a unified kernel image
 *     …             partitions 4 and 5, usr-a and usr-b: an EROFS image
 *     …             partition 6, data: ext4, which grows to the end of the disk
 *     the end       GPT once more
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { regions, roundUp, type Region } from '@nodeos/block';
import { fat, gpt, GPT_END, GPT_TYPES, pe, SECTOR, type GptPartition } from '@nodeos/fs';
import type { Target } from '@nodeos/targets';
import { directory, file, type Entry } from '@nodeos/tree';
import { biosStages, SECOND_STAGE } from './bios.js';
import { encodeBootState, type BootState } from './boot-state.js';
import { efiTargetOf } from './efi.js';
import type { HostFile } from './host-file.js';
import {
  ALIGN,
  derivedId,
  LABEL,
  placedAt,
  slotSize,
  sorted,
  stateRegions,
  type Contents,
  type Layout,
} from './layout.js';
import { hasBios } from './loaders.js';
import { HEAD_LENGTH } from './slot-head.js';
import { newState, slotRegions } from './slot.js';
import { partitionId } from './uki.js';

const MIB = 1 << 20;
/** Bytes. The program takes 8 KiB; the rest is for what else firmware may want to find there. */
const ESP_SIZE = 8 * MIB;
/** Slots have a multiple of so many bytes. */
const UNITS = { boot: 32 * MIB, usr: 64 * MIB } as const;

/** @param data the filesystem for the users' data */
export async function diskLayout(contents: Contents, data: HostFile): Promise<Layout> {
  const { target, uki, usr, loaders } = contents;
  const usrId = await partitionId(usr.file);
  const boot = slotSize(uki.size + HEAD_LENGTH, UNITS.boot);
  const partitions = placePartitions(usrId, [
    ['esp', ESP_SIZE],
    ['boot-a', boot],
    ['boot-b', boot],
    ['usr-a', slotSize(usr.size, UNITS.usr)],
    ['usr-b', slotSize(usr.size, UNITS.usr)],
    ['data', data.size],
  ]);
  const at = (name: string): number => offsetOf(partitions, name);
  const size = roundUp(at('data') + data.size + GPT_END, ALIGN);
  const state = newState(at('boot-a'));
  const bios = hasBios(target) ? await biosStages(loaders, state) : undefined;
  const code = bios ? { code: bios.first } : {};
  const esp = await fat(await espTree(target, loaders, state), {
    size: ESP_SIZE,
    label: LABEL,
    hiddenSectors: at('esp') / SECTOR,
  });
  return {
    size,
    list: sorted([
      ...gpt({ size, id: derivedId(usrId, 'disk'), firstUsable: ALIGN, partitions, ...code }),
      ...(bios ? [{ ...SECOND_STAGE, source: bios.second }] : []),
      ...stateRegions(state),
      ...placedAt(esp.regions, at('esp')),
      ...placedAt(await slotRegions(uki), at('boot-a')),
      { offset: at('usr-a'), length: usr.size, source: usr },
      { offset: at('data'), length: data.size, source: data },
    ]),
  };
}

/** Partitions one after the other. The id of usr-a is that of its contents. */
function placePartitions(usrId: string, sizes: readonly (readonly [name: string, size: number])[]): GptPartition[] {
  let end = ALIGN;
  return sizes.map(([name, length]) => {
    const offset = end;
    end = roundUp(offset + length, ALIGN);
    const type = name === 'esp' ? GPT_TYPES.esp : GPT_TYPES.linux;
    return { type, id: name === 'usr-a' ? usrId : derivedId(usrId, name), name, offset, length };
  });
}

function offsetOf(partitions: readonly GptPartition[], name: string): number {
  const found = partitions.find((partition) => partition.name === name);
  if (!found) throw new Error(`there is no partition ${name}`);
  return found.offset;
}

/** The ESP with the program that chooses a slot, and that program with the state that counts if both copies are broken. */
async function espTree(target: Target, loaders: string, state: BootState): Promise<Entry[]> {
  const { machine, file: name } = efiTargetOf(target);
  const [code, bytes] = [await readFile(join(loaders, 'select')), encodeBootState(state)];
  const program = pe({
    machine,
    sections: [
      { name: '.text', source: code, length: code.length, isCode: true },
      { name: '.state', source: bytes, length: bytes.length },
    ],
  });
  return [
    directory('EFI'),
    directory('EFI/BOOT'),
    file(`EFI/BOOT/${name}`, await bytesOf(program.regions, program.size)),
  ];
}

async function bytesOf(list: readonly Region[], size: number): Promise<Buffer> {
  const device = regions(list, { size });
  const bytes = Buffer.alloc(size);
  await device.read(bytes, 0);
  await device.close();
  return bytes;
}
