/**
 * Reads what an ELF file needs to run: its interpreter and its shared libraries.
 * System V ABI, chapters 4 and 5 (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html). Reads 64-bit
 * little-endian files only. Ignores symbol versions and RPATH, because the images have one library folder.
 */
import { readFile } from 'node:fs/promises';

const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
export const PT_LOAD = 1;
const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_GNU_STACK = 0x6474e551;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_SONAME = 14;
const MAX_NAME = 4096; // the kernel's PATH_MAX

export interface Elf {
  /** The `e_machine` field of the ELF header. */
  readonly machine: number;
  readonly interpreter?: string;
  /** Sonames of the needed libraries, in the order of the file. */
  readonly needed: readonly string[];
  readonly soname?: string;
}

export interface Segment {
  readonly type: number;
  /** Offset of its program header in the file, in bytes. */
  readonly header: number;
  /** Offset of its content in the file, in bytes. */
  readonly offset: number;
  readonly address: number;
  /** Size of its content in the file, in bytes. */
  readonly size: number;
}

/** @throws Error naming the file if it cannot be read, or is not a well-formed ELF file */
export async function readElf(path: string): Promise<Elf> {
  try {
    return parseElf(await readFile(path));
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** @throws Error if the bytes are not a well-formed ELF file */
export function parseElf(bytes: Buffer): Elf {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw new Error('not an ELF file');
  if (bytes[4] !== CLASS_64 || bytes[5] !== LITTLE_ENDIAN) throw new Error('not a 64-bit little-endian ELF file');
  const machine = bytes.readUInt16LE(18);
  const segments = segmentsOf(bytes);
  const interp = segments.find((segment) => segment.type === PT_INTERP);
  const interpreter = interp && textAt(bytes, interp.offset);
  const dynamic = dynamicOf(bytes, segments);
  const table = dynamic.find(({ tag }) => tag === DT_STRTAB)?.value;
  const strings = table === undefined ? 0 : offsetOf(segments, table);
  if (strings === undefined) throw new Error('its string table is not in the file');
  const names = (wanted: number): string[] =>
    dynamic.filter(({ tag }) => tag === wanted).map(({ value }) => textAt(bytes, strings + value));
  const [soname] = names(DT_SONAME);
  return {
    machine,
    needed: names(DT_NEEDED),
    ...(interpreter === undefined ? {} : { interpreter }),
    ...(soname === undefined ? {} : { soname }),
  };
}

/**
 * Reads the program headers.
 * @param bytes a 64-bit little-endian ELF file
 * @throws Error if the program headers lie outside the file
 */
export function segmentsOf(bytes: Buffer): Segment[] {
  const start = safeInteger(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  const count = bytes.readUInt16LE(56);
  if (size < 56 || start + size * count > bytes.length) throw new Error('its program headers lie outside the file');
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return {
      type: bytes.readUInt32LE(at),
      header: at,
      offset: safeInteger(bytes.readBigUInt64LE(at + 8)),
      address: safeInteger(bytes.readBigUInt64LE(at + 16)),
      size: safeInteger(bytes.readBigUInt64LE(at + 32)),
    };
  });
}

export interface DynamicEntry {
  readonly tag: number;
  readonly value: number;
  /** Offset of the value in the file, in bytes. */
  readonly at: number;
}

/** The entries of the dynamic section; empty if there is none. @throws Error if it lies outside the file */
export function dynamicOf(bytes: Buffer, segments: readonly Segment[]): DynamicEntry[] {
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  const entries: DynamicEntry[] = [];
  if (!dynamic) return entries;
  const end = dynamic.offset + dynamic.size;
  if (end > bytes.length) throw new Error('its dynamic section lies outside the file');
  for (let at = dynamic.offset; at + 16 <= end; at += 16) {
    const tag = Number(bytes.readBigUInt64LE(at));
    if (tag === DT_NULL) break;
    entries.push({ tag, value: Number(bytes.readBigUInt64LE(at + 8)), at: at + 8 });
  }
  return entries;
}

/** Converts an address to an offset in the file. Undefined if no loaded segment contains the address. */
export function offsetOf(segments: readonly Segment[], address: number): number | undefined {
  const segment = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + s.size);
  return segment && address - segment.address + segment.offset;
}

function textAt(bytes: Buffer, start: number): string {
  const end = bytes.indexOf(0, start);
  if (start >= bytes.length || end < 0) throw new Error('a name lies outside the file');
  if (end - start > MAX_NAME) throw new Error(`a name is longer than ${MAX_NAME} bytes`);
  return bytes.toString('latin1', start, end);
}

/** @throws Error if the value is not a safe integer */
function safeInteger(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error('an offset is too large');
  return Number(value);
}
