/** What the writer and the reader of ISO 9660 have in common. Numbers of bytes and their places are those of ECMA-119. */

/** Bytes of a logical sector, and of a logical block in the images that are written here. */
export const SECTOR = 2048;
/** Bytes at the start that belong to other formats, such as a table of partitions. */
export const SYSTEM_AREA = 16 * SECTOR;
/** Bytes of a directory record before its identifier. */
export const RECORD_HEAD = 33;
/** The identifiers of a folder itself and of the one above it. */
export const SELF = Buffer.of(0);
export const PARENT = Buffer.of(1);
export const STANDARD = 'CD001';

/** Types of volume descriptors. */
export const DESCRIPTOR = { boot: 0, primary: 1, supplementary: 2, terminator: 255 } as const;

/** Flags of directory records. */
export const FLAG = { directory: 0x02, associated: 0x04, more: 0x80 } as const;

/** Flags of `NM` fields and of components of `SL` fields. */
export const PART = { continues: 1, current: 2, parent: 4, root: 8 } as const;

/** Flags of `TF` fields: which times it has, in the order of their bits, and whether they are long. */
export const TIMES = { creation: 0x01, modification: 0x02, long: 0x80 } as const;

/** `S_IFMT`, inode(7). */
export const TYPE_BITS = 0o170000;
export const PERMISSION_BITS = 0o7777;

/** The escape sequences by which Joliet says which level of UCS-2 it has. All that was ever written is level 3. */
export const JOLIET_ESCAPES: readonly string[] = ['%/@', '%/C', '%/E'];
export const JOLIET_LEVEL_3 = '%/E';

const FIRST_YEAR = 1900;
const LAST_YEAR = FIRST_YEAR + 255;

/** A number in both byte orders, least significant byte first. */
export function writeBoth16(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt16LE(value, at);
  bytes.writeUInt16BE(value, at + 2);
}
export function writeBoth32(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value, at);
  bytes.writeUInt32BE(value, at + 4);
}

/**
 * The 7 bytes of a time in a directory record. @param seconds since 1970
 * @throws RangeError for a year that they cannot hold, which names `subject`
 */
export function encodeTime(seconds: number, subject: string): Buffer {
  const date = new Date(Math.floor(seconds) * 1000);
  const year = date.getUTCFullYear();
  if (!(year >= FIRST_YEAR && year <= LAST_YEAR))
    throw new RangeError(`${subject}: ISO 9660 has times from ${FIRST_YEAR} to ${LAST_YEAR}, not ${seconds} s`);
  const day = [date.getUTCMonth() + 1, date.getUTCDate()];
  return Buffer.of(year - FIRST_YEAR, ...day, date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), 0);
}

/** Seconds since 1970. 0 if the date says that it is not specified. */
export function decodeTime(bytes: Buffer): number {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = bytes;
  if (month === 0) return 0;
  return Date.UTC(FIRST_YEAR + year, month - 1, day, hour, minute, second) / 1000 - zoneOf(bytes, 6);
}

/** The same for the 17 bytes of a long time, which has decimal digits. */
export function decodeLongTime(bytes: Buffer): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)/.exec(bytes.toString('latin1'))?.map(Number) ?? [];
  if (!year || !month) return 0;
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - zoneOf(bytes, 16);
}

/** The offset of local time in seconds. It is stored in quarters of an hour. */
const zoneOf = (bytes: Buffer, at: number): number => bytes.readInt8(at) * 15 * 60;
