/**
 * Describes a CD that is a disk as well. Everything in it is there once: the table of the second stage and the folders
 * of the CD name the same bytes. It cannot be updated, so it has one slot, whose head describes the unified kernel image
 * in the ESP.
 *
 *     byte 0        MBR: the first stage for a BIOS
 *     sector 1      GPT
 *     sector 36     second stage, which El Torito names as well
 *     sector 48     state, and once more at sector 56
 *     32 KiB        ISO 9660: descriptors and folders
 *     124 KiB       head
 *     128 KiB       partition 1, ESP: a unified kernel image, in which the second stage finds kernel and initramfs
 *     …             partition 2, usr-a: an EROFS image
 *     the end       GPT once more
 */
import { roundUp } from '@nodeos/block';
import { fat, fatSizeFor, gpt, GPT_END, GPT_TYPES, iso, SECTOR } from '@nodeos/fs';
import { directory } from '@nodeos/tree';
import { biosStages, SECOND_STAGE } from './bios.js';
import { efiTargetOf } from './efi.js';
import { derivedId, entryOf, LABEL, placedAt, sorted, stateRegions, type Contents, type Layout } from './layout.js';
import { hasBios } from './loaders.js';
import { HEAD_LENGTH } from './slot-head.js';
import { newState, slotHead } from './slot.js';
import { partitionId } from './uki.js';

/** Bytes. Who reads a CD, or a stick that nobody writes, gains nothing from partitions at whole MiB. */
const UNIT = 64 << 10;
const ESP_AT = 2 * UNIT;
const HEAD_AT = ESP_AT - HEAD_LENGTH;

export async function cdLayout({ target, uki, usr, loaders }: Contents): Promise<Layout> {
  const program = `EFI/BOOT/${efiTargetOf(target).file}`;
  const tree = [directory('EFI'), directory('EFI/BOOT'), entryOf(program, uki)];
  const espSize = await fatSizeFor(tree);
  const esp = await fat(tree, { size: espSize, label: LABEL, hiddenSectors: ESP_AT / SECTOR });
  const inEsp = esp.places.get(program);
  if (!inEsp) throw new Error(`${program} is not in the ESP`);
  const ukiPlace = { offset: ESP_AT + inEsp.offset, length: inEsp.length };
  const usrAt = roundUp(ESP_AT + espSize, UNIT);
  const size = roundUp(usrAt + usr.size + GPT_END, UNIT);
  const usrId = await partitionId(usr.file);
  const state = newState(HEAD_AT);
  const bios = hasBios(target) ? await biosStages(loaders, state) : undefined;
  const table = gpt({
    size,
    id: derivedId(usrId, 'disk'),
    firstUsable: ESP_AT,
    ...(bios ? { code: bios.first } : {}),
    partitions: [
      { type: GPT_TYPES.esp, id: derivedId(usrId, 'esp'), name: 'esp', offset: ESP_AT, length: espSize },
      { type: GPT_TYPES.linux, id: usrId, name: 'usr-a', offset: usrAt, length: roundUp(usr.size, SECTOR) },
    ],
  });
  const cd = await iso([...tree, entryOf('usr.erofs', usr)], {
    label: LABEL,
    size,
    limit: HEAD_AT,
    places: new Map([
      [program, ukiPlace],
      ['usr.erofs', { offset: usrAt, length: usr.size }],
    ]),
    boot: { ...(bios ? { bios: SECOND_STAGE } : {}), efi: { offset: ESP_AT, length: espSize } },
  });
  const head = { offset: HEAD_AT, length: HEAD_LENGTH, source: await slotHead(uki, ukiPlace.offset - HEAD_AT, false) };
  return {
    size,
    list: sorted([
      ...table,
      ...(bios ? [{ ...SECOND_STAGE, source: bios.second }, ...stateRegions(state), head] : []),
      ...cd.regions,
      ...placedAt(esp.regions, ESP_AT),
      { offset: usrAt, length: usr.size, source: usr },
    ]),
  };
}
