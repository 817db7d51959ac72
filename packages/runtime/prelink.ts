/**
 * Prelinking: a position-independent program becomes one for a fixed address, with everything in it that depends on the
 * address already written down. Node.js for musl has 106 000 such places; the loader would visit them at every start,
 * and in doing so copy 1.4 MB of the file into memory that could have stayed mapped.
 *
 * System V ABI, chapters 4 and 5 (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html), and its supplement for
 * AMD64, "Relocation". The price: the program itself is always at that address (its libraries, stack and heap are not),
 * as is the official build of Node.js for glibc, which is linked so. Leaves out: DT_RELR, REL, other machines.
 */
const ET_DYN = 3;
const ET_EXEC = 2;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_GNU_STACK = 0x6474e551;
const [DT_NULL, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ] = [0, 5, 6, 7, 8];
const [DT_PLTRELSZ, DT_REL, DT_JMPREL, DT_RELR] = [2, 17, 23, 36];
const [DT_RELACOUNT, DT_FLAGS_1] = [0x6ffffff9, 0x6ffffffb];
const DF_1_PIE = 0x08000000n;
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
export const BASE = 0x400000n;

interface Segment {
  readonly type: number;
  /** Of its program header, in the file. */
  readonly header: number;
  readonly offset: bigint;
  readonly address: bigint;
  readonly size: bigint;
}

/**
 * @param binary a 64-bit little-endian position-independent executable for x86-64 with its program headers; it is changed
 * @throws Error if it is something else, or not laid out as the GNU linker does it
 */
export function prelink(binary: Buffer): void {
  if (binary.readUInt16LE(16) !== ET_DYN) throw new Error('it is not position-independent');
  const segments = segmentsOf(binary);
  const dynamic = dynamicOf(binary, segments);
  const value = (tag: number): bigint => dynamic.find((entry) => entry.tag === tag)?.value ?? 0n;
  for (const tag of [DT_REL, DT_RELR]) if (value(tag) !== 0n) throw new Error(`it has relocations of kind ${tag}`);
  const fileOffset = (address: bigint): number => offsetOf(segments, address);

  // First what is found by the old addresses, then the addresses themselves.
  const relative = applyRelative(binary, fileOffset, value(DT_RELA), Number(value(DT_RELACOUNT)));
  const rest = { start: value(DT_RELA) + relative, size: value(DT_RELASZ) - relative };
  moveRelocations(binary, fileOffset(rest.start), rest.size);
  if (value(DT_JMPREL) !== 0n) moveRelocations(binary, fileOffset(value(DT_JMPREL)), value(DT_PLTRELSZ));
  moveSymbols(binary, fileOffset(value(DT_SYMTAB)), value(DT_STRTAB) - value(DT_SYMTAB));
  for (const { tag, at, value: old } of dynamic) {
    if (tag === DT_RELA) binary.writeBigUInt64LE(rest.start + BASE, at);
    else if (tag === DT_RELASZ) binary.writeBigUInt64LE(rest.size, at);
    else if (tag === DT_RELACOUNT) binary.writeBigUInt64LE(0n, at);
    else if (tag === DT_FLAGS_1) binary.writeBigUInt64LE(old & ~DF_1_PIE, at);
    else if (ADDRESSES.includes(tag)) binary.writeBigUInt64LE(old + BASE, at);
  }
  for (const { type, header } of segments) {
    if (type === PT_GNU_STACK) continue;
    add(binary, header + 16);
    add(binary, header + 24);
  }
  add(binary, 24); // the entry point
  binary.writeUInt16LE(ET_EXEC, 16);
}

const add = (binary: Buffer, at: number): void => void binary.writeBigUInt64LE(binary.readBigUInt64LE(at) + BASE, at);

function segmentsOf(binary: Buffer): Segment[] {
  const [start, size, count] = [Number(binary.readBigUInt64LE(32)), binary.readUInt16LE(54), binary.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => {
    const header = start + index * size;
    const [offset, address, bytes] = [8, 16, 32].map((field) => binary.readBigUInt64LE(header + field));
    return {
      type: binary.readUInt32LE(header),
      header,
      offset: offset ?? 0n,
      address: address ?? 0n,
      size: bytes ?? 0n,
    };
  });
}

interface Entry {
  readonly tag: number;
  readonly value: bigint;
  /** Of the value, in the file. */
  readonly at: number;
}

function dynamicOf(binary: Buffer, segments: readonly Segment[]): Entry[] {
  const home = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!home) throw new Error('it has no dynamic section');
  const entries: Entry[] = [];
  for (let at = Number(home.offset); at < Number(home.offset + home.size); at += 16) {
    const tag = Number(binary.readBigUInt64LE(at));
    if (tag === DT_NULL) break;
    entries.push({ tag, value: binary.readBigUInt64LE(at + 8), at: at + 8 });
  }
  return entries;
}

function offsetOf(segments: readonly Segment[], address: bigint): number {
  const home = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + s.size);
  if (!home) throw new Error(`the address 0x${address.toString(16)} is not in the file`);
  return Number(address - home.address + home.offset);
}

/** Writes the addresses. @returns the bytes of the table that are done with */
function applyRelative(binary: Buffer, fileOffset: (address: bigint) => number, table: bigint, count: number): bigint {
  const start = count === 0 ? 0 : fileOffset(table);
  for (let at = start; at < start + count * RELA_SIZE; at += RELA_SIZE) {
    const [place, info, addend] = [0, 8, 16].map((field) => binary.readBigUInt64LE(at + field));
    if (info !== R_X86_64_RELATIVE) throw new Error('its relative relocations do not come first');
    binary.writeBigUInt64LE((addend ?? 0n) + BASE, fileOffset(place ?? 0n));
  }
  return BigInt(count * RELA_SIZE);
}

/** What is left to the loader: the places are elsewhere now. */
function moveRelocations(binary: Buffer, start: number, size: bigint): void {
  for (let at = start; at < start + Number(size); at += RELA_SIZE) {
    const kind = binary.readBigUInt64LE(at + 8) & 0xffffffffn;
    if (kind === R_X86_64_RELATIVE) throw new Error('it has a relative relocation among the others');
    add(binary, at);
    if (kind === R_X86_64_IRELATIVE) add(binary, at + 16);
  }
}

/** The GNU linker puts the names of symbols behind them, which says how many there are. */
function moveSymbols(binary: Buffer, start: number, size: bigint): void {
  if (size <= 0n || size % BigInt(SYMBOL_SIZE) !== 0n)
    throw new Error('its symbols do not end where their names begin');
  for (let at = start; at < start + Number(size); at += SYMBOL_SIZE) {
    const [type, section] = [binary.readUInt8(at + 4) & 0xf, binary.readUInt16LE(at + 6)];
    if (section !== SHN_UNDEF && section !== SHN_ABS && type !== STT_TLS) add(binary, at + 8);
  }
}
