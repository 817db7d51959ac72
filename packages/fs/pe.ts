/**
 * Describes programs for UEFI: PE32+ files whose sections are given as they are. A unified kernel image is one of them.
 * https://learn.microsoft.com/windows/win32/debug/pe-format
 * https://uapi-group.org/specifications/specs/unified_kernel_image/
 *
 *     byte 0      DOS header, of which firmware reads only the place of the next one
 *     byte 64     PE header, sections' headers
 *     byte 4096   sections, each from a multiple of 4096 on, in the file and in memory
 *
 * Not supported: relocations, so the code must run anywhere; checksums and signatures, which signing tools add.
 */
import { parsing, roundUp, type BlockBackend, type Region, type RegionSource } from '@nodeos/block';
import type { Image, Place } from './image.js';

/** Unit of sections in bytes. Pages of memory are as large, and signing tools want the same in the file. */
export const PE_ALIGN = 4096;

const DOS_HEADER = 64;
const COFF_HEADER = 24;
const OPTIONAL_HEADER = 240;
const SECTION_HEADER = 40;
const MAX_SECTIONS = 90;

const PE32_PLUS = 0x20b;
const EFI_APPLICATION = 10;
/** Executable, addresses above 2 GiB, no symbols. */
const CHARACTERISTICS = 0x0002 | 0x0020 | 0x0200;
/** No section is both writable and executable, so memory protection may stay on. */
const NX_COMPATIBLE = 0x100;
const DIRECTORIES = 16;

/** `Characteristics` of sections. */
const CODE = 0x60000020;
const DATA = 0x40000040;

export interface PeSection {
  /** At most 8 ASCII characters, such as `.linux`. */
  readonly name: string;
  readonly source: RegionSource;
  /** Bytes; at least 1. */
  readonly length: number;
  /** Executable, and not only readable. Default false. */
  readonly isCode?: boolean;
}

export interface PeOptions {
  /** `e_machine` of PE files: 0x8664 for x86_64, 0xaa64 for aarch64. */
  readonly machine: number;
  readonly sections: readonly PeSection[];
}

export interface PeImage extends Image {
  /** Where the contents of the sections are in the file, by name. */
  readonly places: ReadonlyMap<string, Place>;
}

const aligned = (value: number): number => roundUp(value, PE_ALIGN);

/**
 * Describes a program. It starts at the first byte of the first section, which is at 4096 in memory.
 * @throws RangeError for a name or a length that the format cannot hold, or too many sections
 */
export function pe({ machine, sections }: PeOptions): PeImage {
  if (sections.length === 0 || sections.length > MAX_SECTIONS)
    throw new RangeError(`a program of ${sections.length} sections: 1 to ${MAX_SECTIONS} are possible`);
  const places = new Map<string, Place>();
  let end = PE_ALIGN;
  for (const { name, length } of sections) {
    if (!/^[\x21-\x7e]{1,8}$/.test(name)) throw new RangeError(`a section called ${JSON.stringify(name)}`);
    if (!(length > 0)) throw new RangeError(`the section ${name} has ${length} bytes`);
    places.set(name, { offset: end, length });
    end = aligned(end + length);
    if (end > 0x7fffffff) throw new RangeError(`the section ${name} ends beyond 2 GiB`);
  }
  const headers = encodeHeaders(machine, sections, places, end);
  const contents = sections.map(({ name, source, length }): Region => ({ ...at(places, name), length, source }));
  return { regions: [{ offset: 0, length: headers.length, source: headers }, ...contents], size: end, places };
}

function at(places: ReadonlyMap<string, Place>, name: string): Place {
  const place = places.get(name);
  if (!place) throw new RangeError(`there is no section ${name}`);
  return place;
}

function encodeHeaders(
  machine: number,
  sections: readonly PeSection[],
  places: ReadonlyMap<string, Place>,
  end: number,
): Buffer {
  const bytes = Buffer.alloc(DOS_HEADER + COFF_HEADER + OPTIONAL_HEADER + sections.length * SECTION_HEADER);
  bytes.write('MZ', 0, 'latin1');
  bytes.writeUInt32LE(DOS_HEADER, 0x3c);
  encodeCoff(bytes.subarray(DOS_HEADER), machine, sections.length);
  encodeOptional(bytes.subarray(DOS_HEADER + COFF_HEADER), sections, places, end);
  for (const [index, { name, length, isCode = false }] of sections.entries()) {
    const header = bytes.subarray(DOS_HEADER + COFF_HEADER + OPTIONAL_HEADER + index * SECTION_HEADER);
    const { offset } = at(places, name);
    header.write(name, 0, 'latin1');
    for (const [field, value] of [
      [8, length],
      [12, offset],
      [16, aligned(length)],
      [20, offset],
      [36, isCode ? CODE : DATA],
    ] as const)
      header.writeUInt32LE(value, field);
  }
  return bytes;
}

function encodeCoff(bytes: Buffer, machine: number, sections: number): void {
  bytes.write('PE\0\0', 0, 'latin1');
  bytes.writeUInt16LE(machine, 4);
  bytes.writeUInt16LE(sections, 6);
  bytes.writeUInt16LE(OPTIONAL_HEADER, 20);
  bytes.writeUInt16LE(CHARACTERISTICS, 22);
}

function encodeOptional(
  bytes: Buffer,
  sections: readonly PeSection[],
  places: ReadonlyMap<string, Place>,
  end: number,
): void {
  const sizeOf = (wanted: boolean): number =>
    sections.filter(({ isCode = false }) => isCode === wanted).reduce((sum, { length }) => sum + aligned(length), 0);
  const [first] = sections;
  const entry = first ? at(places, first.name).offset : 0;
  bytes.writeUInt16LE(PE32_PLUS, 0);
  for (const [field, value] of [
    [4, sizeOf(true)],
    [8, sizeOf(false)],
    [16, entry],
    [20, entry],
    [32, PE_ALIGN],
    [36, PE_ALIGN],
    [56, end],
    [60, PE_ALIGN],
    [108, DIRECTORIES],
  ] as const)
    bytes.writeUInt32LE(value, field);
  bytes.writeUInt16LE(EFI_APPLICATION, 68);
  bytes.writeUInt16LE(NX_COMPATIBLE, 70);
}

/**
 * Finds the contents of a program's sections. The file is not trusted.
 * @returns places by name; of a repeated name, the first
 * @throws Error with the code EINVAL if it is no program of this kind or is damaged
 */
export async function peSections(device: BlockBackend): Promise<ReadonlyMap<string, Place>> {
  const input = parsing(device, 'PE');
  const dos = await input.bytes(0, DOS_HEADER, 'the DOS header');
  const start = dos.readUInt32LE(0x3c);
  const coff = await input.bytes(start, COFF_HEADER, 'the PE header');
  if (dos.toString('latin1', 0, 2) !== 'MZ' || coff.toString('latin1', 0, 4) !== 'PE\0\0')
    throw input.formatError('this is no program for UEFI');
  const count = coff.readUInt16LE(6);
  if (count > MAX_SECTIONS) throw input.formatError(`${count} sections`);
  const table = start + COFF_HEADER + coff.readUInt16LE(20);
  const headers = await input.bytes(table, count * SECTION_HEADER, 'the list of sections');
  const found = new Map<string, Place>();
  for (let at = 0; at < headers.length; at += SECTION_HEADER) {
    const name = headers.toString('latin1', at, at + 8).replace(/\0.*$/s, '');
    // The file may hold more than memory because of padding, or less because the rest is zeros.
    const length = Math.min(headers.readUInt32LE(at + 8), headers.readUInt32LE(at + 16));
    const offset = headers.readUInt32LE(at + 20);
    if (offset + length > input.size) throw input.formatError(`the section ${JSON.stringify(name)} is not in the file`);
    if (!found.has(name)) found.set(name, { offset, length });
  }
  return found;
}
