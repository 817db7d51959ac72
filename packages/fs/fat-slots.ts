/**
 * The slots of a folder, 32 bytes each. A file has one with its short name; slots with the parts of its long name come
 * before it, the last part first.
 */
import { SLOT, type FatBits } from './fat-layout.js';

export const ATTRIBUTES = { readOnly: 0x01, label: 0x08, directory: 0x10, archive: 0x20, long: 0x0f };
/** The lower six bits tell a slot with a part of a long name from all others. */
const ATTRIBUTE_MASK = 0x3f;
/** UTF-16 units in a slot, and where they are. */
const UNITS = 13;
const UNIT_RANGES = [
  [1, 11],
  [14, 26],
  [28, 32],
] as const;
const LAST_PART = 0x40;
export const MAX_PARTS = 20;
/** Flags of Windows NT: the short name is shown in lower case. */
const LOWER_BASE = 0x08;
const LOWER_EXTENSION = 0x10;

/** Seconds since 1970 that the format can hold. */
const FIRST_TIME = Date.UTC(1980, 0, 1) / 1000;
const LAST_TIME = Date.UTC(2107, 11, 31, 23, 59, 58) / 1000;

export interface SlotFields {
  /** 11 characters. */
  readonly name: string;
  readonly attributes: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly cluster: number;
  readonly size: number;
}

export function encodeSlot({ name, attributes, mtime, cluster, size }: SlotFields): Buffer {
  const slot = Buffer.alloc(SLOT);
  const { date, time } = encodeTime(mtime);
  slot.write(name, 'latin1');
  slot.writeUInt8(attributes, 11);
  slot.writeUInt16LE(time, 14);
  slot.writeUInt16LE(date, 16);
  slot.writeUInt16LE(date, 18);
  slot.writeUInt16LE(cluster >>> 16, 20);
  slot.writeUInt16LE(time, 22);
  slot.writeUInt16LE(date, 24);
  slot.writeUInt16LE(cluster & 0xffff, 26);
  slot.writeUInt32LE(size, 28);
  return slot;
}

/** Dates have no zone: UTC. Seconds are even. */
function encodeTime(mtime: number): { date: number; time: number } {
  const at = new Date(Math.min(Math.max(Math.floor(mtime), FIRST_TIME), LAST_TIME) * 1000);
  return {
    date: ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
  };
}

/** `LONGNA~1.TXT` as 11 characters, without the dot. */
export function paddedName(short: string): string {
  const [base = '', extension = ''] = short.split('.');
  return base.padEnd(8) + extension.padEnd(3);
}

/** Slots that a long name takes. */
export const partsOf = (name: string): number => Math.ceil(name.length / UNITS);

/** @param short 11 characters */
export function encodeLongName(name: string, short: string): Buffer[] {
  const sum = checksum(Buffer.from(short, 'latin1'));
  const count = partsOf(name);
  // A zero ends the name if there is room for one, and ones follow.
  const units = Buffer.alloc(count * UNITS * 2, 0xff);
  units.write(`${name}\0`, 'utf16le');
  return Array.from({ length: count }, (_, index) => {
    const slot = Buffer.alloc(SLOT);
    slot.writeUInt8((index + 1) | (index === count - 1 ? LAST_PART : 0), 0);
    slot.writeUInt8(ATTRIBUTES.long, 11);
    slot.writeUInt8(sum, 13);
    let at = index * UNITS * 2;
    for (const [from, to] of UNIT_RANGES) at += units.copy(slot, from, at, at + to - from);
    return slot;
  }).reverse();
}

/** Tells whether a long name belongs to the short name that follows it. */
const checksum = (name: Uint8Array): number =>
  name.reduce((sum, byte) => (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff, 0);

export interface DecodedSlot extends Omit<SlotFields, 'name'> {
  /** The long name if there is one; otherwise the short name. */
  readonly name: string;
  /** 11 bytes. */
  readonly raw: Buffer;
}

/** The slots of a folder without deleted ones, with their long names. Stops at the end of the folder. */
export class SlotDecoder {
  constructor(private readonly bits: FatBits) {}

  private parts: Buffer[] = [];
  private expected = 0;
  private sum = 0;
  /** Whether the slot that ends the folder has been read. */
  ended = false;

  *decode(bytes: Buffer): Generator<DecodedSlot> {
    for (let at = 0; at + SLOT <= bytes.length; at += SLOT) {
      const slot = bytes.subarray(at, at + SLOT);
      const [first, attributes] = [slot.readUInt8(0), slot.readUInt8(11) & ATTRIBUTE_MASK];
      if (first === 0) {
        this.ended = true;
        return;
      }
      if (first === 0xe5) this.parts = [];
      else if (attributes === ATTRIBUTES.long) this.add(slot);
      else yield this.finish(slot, attributes);
    }
  }

  /** Parts that are not in order are dropped, as other systems do: the short name remains. */
  private add(slot: Buffer): void {
    const order = slot.readUInt8(0);
    const number = order & ~LAST_PART;
    const sum = slot.readUInt8(13);
    if ((order & LAST_PART) !== 0 && number >= 1 && number <= MAX_PARTS) this.parts = [];
    else if (this.parts.length === 0 || number !== this.expected - 1 || number === 0 || sum !== this.sum) {
      this.parts = [];
      return;
    }
    [this.expected, this.sum] = [number, sum];
    this.parts.unshift(Buffer.concat(UNIT_RANGES.map(([from, to]) => slot.subarray(from, to))));
  }

  private finish(slot: Buffer, attributes: number): DecodedSlot {
    const raw = slot.subarray(0, 11);
    const isLong = this.parts.length > 0 && this.expected === 1 && this.sum === checksum(raw);
    const name = isLong ? decodeLongName(Buffer.concat(this.parts)) : decodeShortName(raw, slot.readUInt8(12));
    this.parts = [];
    const high = this.bits === 32 ? slot.readUInt16LE(20) : 0; // others have other things there
    return {
      name,
      raw,
      attributes,
      mtime: decodeTime(slot.readUInt16LE(24), slot.readUInt16LE(22)),
      cluster: slot.readUInt16LE(26) + high * 0x10000,
      size: slot.readUInt32LE(28),
    };
  }
}

function decodeLongName(units: Buffer): string {
  const [name = ''] = units.toString('utf16le').split('\0', 1);
  return name.replace(/\p{Surrogate}/gu, '\ufffd');
}

function decodeShortName(raw: Buffer, flags: number): string {
  const [base, extension] = [raw.subarray(0, 8), raw.subarray(8)].map((bytes) => decodeText(bytes).replace(/ +$/, ''));
  const shown = (text = '', isLower: boolean): string => (isLower ? text.toLowerCase() : text);
  const end = shown(extension, (flags & LOWER_EXTENSION) !== 0);
  return shown(base, (flags & LOWER_BASE) !== 0) + (end && `.${end}`);
}

const CODE_PAGE_437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

/** Text in code page 437, DOS's own. Volumes do not say which one they use. A first byte of 5 stands for 0xe5. */
export const decodeText = (bytes: Buffer): string =>
  Array.from(bytes, (byte, index) => (index === 0 && byte === 5 ? 0xe5 : byte))
    .map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : (CODE_PAGE_437[byte - 0x80] ?? '')))
    .join('');

/** Seconds since 1970; 0 for a date that is none. */
function decodeTime(date: number, time: number): number {
  const [month, day] = [(date >> 5) & 0xf, date & 0x1f];
  if (month === 0 || month > 12 || day === 0) return 0;
  return Date.UTC(1980 + (date >> 9), month - 1, day, time >> 11, (time >> 5) & 0x3f, (time & 0x1f) * 2) / 1000;
}
