/** Volume descriptors (ECMA-119 8.4, 8.5, 8.3): what is in the image, and where its root is. */
import { encodeRoot, pathTableSize, type Folder } from './iso-directory.js';
import { DESCRIPTOR, JOLIET_LEVEL_3, SECTOR, STANDARD, writeBoth16, writeBoth32 } from './iso-format.js';
import { ucs2 } from './iso-names.js';

export interface Volume {
  readonly folders: readonly Folder[];
  readonly isJoliet: boolean;
  /** Offsets of the path tables in bytes. */
  readonly little: number;
  readonly big: number;
}

export interface VolumeInfo {
  readonly label: string;
  /** Bytes of the whole image. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly time: number;
}

/** Characters of a label. */
export const MAX_LABEL = 32;
/** 1980-01-01, before which no disk was made. */
const FIRST_TIME = 315_532_800;
/** Fields of text: the system, the set, publisher, preparer, application, and names of three files. */
const TEXTS = [[8, 32], [190, 128], [318, 128], [446, 128], [574, 128], [702, 37], [739, 37], [776, 37]] as const; // prettier-ignore
const LABEL_AT = 40;
/** Creation and change, then when the volume expires and becomes effective. */
const DATES = [813, 830] as const;
const NO_DATES = [847, 864] as const;

export function encodeVolume({ folders, isJoliet, little, big }: Volume, info: VolumeInfo): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  const [root] = folders;
  bytes.writeUInt8(isJoliet ? DESCRIPTOR.supplementary : DESCRIPTOR.primary, 0);
  bytes.write(STANDARD, 1, 'latin1');
  bytes.writeUInt8(1, 6);
  for (const [at, length] of TEXTS) textField('', length, isJoliet).copy(bytes, at);
  textField(info.label, MAX_LABEL, isJoliet).copy(bytes, LABEL_AT);
  writeBoth32(bytes, Math.ceil(info.size / SECTOR), 80);
  if (isJoliet) bytes.write(JOLIET_LEVEL_3, 88, 'latin1');
  for (const at of [120, 124]) writeBoth16(bytes, 1, at); // the only one of its set
  writeBoth16(bytes, SECTOR, 128);
  writeBoth32(bytes, pathTableSize(folders), 132);
  bytes.writeUInt32LE(little / SECTOR, 140);
  bytes.writeUInt32BE(big / SECTOR, 148);
  if (root) encodeRoot(root).copy(bytes, 156);
  for (const at of DATES) bytes.write(date(info.time), at, 'latin1');
  for (const at of NO_DATES) bytes.write('0'.repeat(16), at, 'latin1');
  bytes.writeUInt8(1, 881);
  return bytes;
}

export function encodeTerminator(): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.writeUInt8(DESCRIPTOR.terminator, 0);
  bytes.write(STANDARD, 1, 'latin1');
  bytes.writeUInt8(1, 6);
  return bytes;
}

/** Filled up with spaces. A field of an odd length has one byte more than its units of two. */
function textField(text: string, length: number, isJoliet: boolean): Buffer {
  if (!isJoliet) return Buffer.from(text.padEnd(length), 'latin1');
  const units = Math.floor(length / 2);
  return ucs2(text.slice(0, units).padEnd(units));
}

/** Digits from the year to hundredths of a second. */
const date = (seconds: number): string =>
  `${new Date(Math.floor(Math.max(seconds, FIRST_TIME)) * 1000).toISOString().replace(/\D/g, '').slice(0, 14)}00`;
