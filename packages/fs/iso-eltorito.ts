/**
 * El Torito 1.0: what firmware boots from an ISO 9660 image. The catalog has an entry for the BIOS, and one for EFI in
 * a section of its own (UEFI 13.3.2). If there is only EFI, its entry is the first one, and the validation entry names
 * its platform; xorriso writes the same.
 */
import type { Place } from './image.js';
import { DESCRIPTOR, SECTOR, STANDARD } from './iso-format.js';

export interface Boot {
  /** A boot image without emulation of a disk, which the BIOS loads at 7C00. */
  readonly bios?: Place;
  /** An EFI system partition. */
  readonly efi?: Place;
}

const ENTRY = 32;
/** The unit of lengths in bytes. */
const BLOCK = 512;
const MAX_BLOCKS = 0xffff;
const BIOS = 0;
const EFI = 0xef;
const BOOTABLE = 0x88;
const LAST_SECTION = 0x91;

/** @param catalog offset of the catalog in the image in bytes */
export function encodeBootRecord(catalog: number): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.writeUInt8(DESCRIPTOR.boot, 0);
  bytes.write(STANDARD, 1, 'latin1');
  bytes.writeUInt8(1, 6);
  bytes.write('EL TORITO SPECIFICATION', 7, 'latin1');
  bytes.writeUInt32LE(catalog / SECTOR, 71);
  return bytes;
}

/** @throws RangeError for a boot image that does not start at a sector, or that the BIOS cannot load */
export function encodeCatalog({ bios, efi }: Boot): Buffer {
  const entries: Buffer[] = [validation(bios ? BIOS : EFI)];
  if (bios) entries.push(entry(bios, biosBlocks(bios)));
  if (bios && efi) entries.push(section(EFI));
  if (efi) entries.push(entry(efi, efiBlocks(efi)));
  return Buffer.concat(entries, SECTOR);
}

/** The sum of all its 16-bit words is 0. */
function validation(platform: number): Buffer {
  const bytes = Buffer.alloc(ENTRY);
  bytes.writeUInt8(1, 0);
  bytes.writeUInt8(platform, 1);
  bytes.writeUInt16LE(0xaa55, 30);
  let sum = 0;
  for (let at = 0; at < ENTRY; at += 2) sum += bytes.readUInt16LE(at);
  bytes.writeUInt16LE(-sum & 0xffff, 28);
  return bytes;
}

/** The header of a section with one entry. */
function section(platform: number): Buffer {
  const bytes = Buffer.alloc(ENTRY);
  bytes.writeUInt8(LAST_SECTION, 0);
  bytes.writeUInt8(platform, 1);
  bytes.writeUInt16LE(1, 2);
  return bytes;
}

/** Without emulation, at the usual segment. */
function entry({ offset }: Place, blocks: number): Buffer {
  if (offset % SECTOR !== 0) throw new RangeError(`a boot image at byte ${offset}, which is no multiple of ${SECTOR}`);
  const bytes = Buffer.alloc(ENTRY);
  bytes.writeUInt8(BOOTABLE, 0);
  bytes.writeUInt16LE(blocks, 6);
  bytes.writeUInt32LE(offset / SECTOR, 8);
  return bytes;
}

function biosBlocks({ length }: Place): number {
  const blocks = Math.ceil(length / BLOCK);
  if (blocks === 0 || blocks > MAX_BLOCKS) throw new RangeError(`a BIOS cannot load a boot image of ${length} bytes`);
  return blocks;
}

/** 0 means up to the end of the disk: a partition may be larger than what the field holds. */
function efiBlocks({ length }: Place): number {
  const blocks = Math.ceil(length / BLOCK);
  return blocks > MAX_BLOCKS ? 0 : blocks;
}
