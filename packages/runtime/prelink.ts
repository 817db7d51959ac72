/**
 * Prelinking: a position-independent program becomes one for a fixed address, with everything in it that depends on the
 * address already written down. Node.js for musl has 106 000 such places; the loader would visit them at every start,
 * and in doing so copy 1.4 MB of the file into memory that could have stayed mapped.
 *
 * System V ABI, chapters 4 and 5 (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html), and its supplement for
 * AMD64, "Relocation". The price: the program itself is always at that address (its libraries, stack and heap are not),
 * as is the official build of Node.js for glibc, which is linked so. Leaves out: DT_RELR, REL, other machines.
 */
import { dynamicOf, offsetOf, PT_GNU_STACK, segmentsOf } from './elf.js';

const ET_DYN = 3;
const ET_EXEC = 2;
const [DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ] = [5, 6, 7, 8];
const [DT_PLTRELSZ, DT_REL, DT_JMPREL, DT_RELR] = [2, 17, 23, 36];
const [DT_RELACOUNT, DT_FLAGS_1] = [0x6ffffff9, 0x6ffffffb];
const DF_1_PIE = 0x08000000;
/** What has an address: PLTGOT HASH STRTAB SYMTAB RELA INIT FINI JMPREL INIT_ARRAY FINI_ARRAY GNU_HASH VERSYM VERDEF VERNEED. */
const ADDRESSES = [3, 4, 5, 6, 7, 12, 13, 23, 25, 26, 0x6ffffef5, 0x6ffffff0, 0x6ffffffc, 0x6ffffffe];
const RELA_SIZE = 24;
const SYMBOL_SIZE = 24;
const R_X86_64_RELATIVE = 8n;
const R_X86_64_IRELATIVE = 37n;
const STT_TLS = 6;
const SHN_UNDEF = 0;
const SHN_ABS = 0xfff1;

/** Where programs for a fixed address begin on this machine; a multiple of a huge page, so that alignments stay. */
const BASE = 0x400000;

/**
 * @param binary a 64-bit little-endian position-independent executable for x86-64 with its program headers; it is changed
 * @throws Error if it is something else, or not laid out as the GNU linker does it
 */
export function prelink(binary: Buffer): void {
  if (binary.readUInt16LE(16) !== ET_DYN) throw new Error('it is not position-independent');
  const segments = segmentsOf(binary);
  const dynamic = dynamicOf(binary, segments);
  if (dynamic.length === 0) throw new Error('it has no dynamic section');
  const value = (tag: number): number => dynamic.find((entry) => entry.tag === tag)?.value ?? 0;
  for (const tag of [DT_REL, DT_RELR]) if (value(tag) !== 0) throw new Error(`it has relocations of kind ${tag}`);
  const fileOffset = (address: number): number => {
    const offset = offsetOf(segments, address);
    if (offset === undefined) throw new Error(`the address 0x${address.toString(16)} is not in the file`);
    return offset;
  };

  // First what is found by the old addresses, then the addresses themselves.
  const relative = applyRelative(binary, fileOffset, value(DT_RELA), value(DT_RELACOUNT));
  const rest = { start: value(DT_RELA) + relative, size: value(DT_RELASZ) - relative };
  moveRelocations(binary, fileOffset(rest.start), rest.size);
  if (value(DT_JMPREL) !== 0) moveRelocations(binary, fileOffset(value(DT_JMPREL)), value(DT_PLTRELSZ));
  moveSymbols(binary, fileOffset(value(DT_SYMTAB)), value(DT_STRTAB) - value(DT_SYMTAB));
  for (const { tag, at, value: old } of dynamic) {
    if (tag === DT_RELA) write(binary, at, rest.start + BASE);
    else if (tag === DT_RELASZ) write(binary, at, rest.size);
    else if (tag === DT_RELACOUNT) write(binary, at, 0);
    else if (tag === DT_FLAGS_1) write(binary, at, (old & ~DF_1_PIE) >>> 0);
    else if (ADDRESSES.includes(tag)) write(binary, at, old + BASE);
  }
  for (const { type, header } of segments) {
    if (type === PT_GNU_STACK) continue;
    add(binary, header + 16);
    add(binary, header + 24);
  }
  add(binary, 24); // the entry point
  binary.writeUInt16LE(ET_EXEC, 16);
}

const write = (binary: Buffer, at: number, value: number): void => void binary.writeBigUInt64LE(BigInt(value), at);
const add = (binary: Buffer, at: number): void =>
  void binary.writeBigUInt64LE(binary.readBigUInt64LE(at) + BigInt(BASE), at);

/** Writes the addresses. @returns the bytes of the table that are done with */
function applyRelative(binary: Buffer, fileOffset: (address: number) => number, table: number, count: number): number {
  const start = count === 0 ? 0 : fileOffset(table);
  for (let at = start; at < start + count * RELA_SIZE; at += RELA_SIZE) {
    if (binary.readBigUInt64LE(at + 8) !== R_X86_64_RELATIVE)
      throw new Error('its relative relocations do not come first');
    const [place, addend] = [binary.readBigUInt64LE(at), binary.readBigUInt64LE(at + 16)];
    binary.writeBigUInt64LE(addend + BigInt(BASE), fileOffset(Number(place)));
  }
  return count * RELA_SIZE;
}

/** What is left to the loader: the places are elsewhere now. */
function moveRelocations(binary: Buffer, start: number, size: number): void {
  for (let at = start; at < start + size; at += RELA_SIZE) {
    const kind = binary.readBigUInt64LE(at + 8) & 0xffffffffn;
    if (kind === R_X86_64_RELATIVE) throw new Error('it has a relative relocation among the others');
    add(binary, at);
    if (kind === R_X86_64_IRELATIVE) add(binary, at + 16);
  }
}

/** The GNU linker puts the names of symbols behind them, which says how many there are. */
function moveSymbols(binary: Buffer, start: number, size: number): void {
  if (size <= 0 || size % SYMBOL_SIZE !== 0) throw new Error('its symbols do not end where their names begin');
  for (let at = start; at < start + size; at += SYMBOL_SIZE) {
    const [type, section] = [binary.readUInt8(at + 4) & 0xf, binary.readUInt16LE(at + 6)];
    if (section !== SHN_UNDEF && section !== SHN_ABS && type !== STT_TLS) add(binary, at + 8);
  }
}
