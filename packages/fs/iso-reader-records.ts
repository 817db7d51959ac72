/** Directory records of an ISO 9660 image that is not trusted (ECMA-119 9.1), and the fields behind them (SUSP). */
import type { Parsing } from '@nodeos/block';
import type { Place } from './image.js';
import { decodeTime, FLAG, RECORD_HEAD, SECTOR } from './iso-format.js';

/** Bytes of a folder to read at once. */
const PIECE = 64 << 10;
/** Bytes of a folder: more than as many records as an image may have. */
const MAX_FOLDER = 1 << 28;
/** Continuation areas of one record, as in Linux. */
const MAX_AREAS = 32;
const FIELD_HEAD = 4;

/** What is needed to read records. */
export interface Disk {
  readonly input: Parsing;
  /** Bytes of a logical block. */
  readonly block: number;
}

export interface DirectoryRecord {
  readonly identifier: Buffer;
  readonly flags: number;
  readonly place: Place;
  readonly isInterleaved: boolean;
  /** Seconds since 1970. */
  readonly time: number;
  /** System use fields, or anything else. */
  readonly rest: Buffer;
}

/** A field of SUSP. */
export interface Field {
  readonly signature: string;
  readonly data: Buffer;
}

/** The records in a folder, without those of itself and of the one above. @throws Error with the code EINVAL */
export async function* recordsOf(
  disk: Disk,
  { offset, length }: Place,
  subject: string,
): AsyncGenerator<DirectoryRecord> {
  const { input } = disk;
  if (length > MAX_FOLDER) throw input.formatError(`${subject} has ${length} bytes`);
  for (let done = 0; done < length; done += PIECE) {
    const bytes = await input.bytes(offset + done, Math.min(PIECE, length - done), subject);
    for (let at = 0; at < bytes.length;) {
      const size = bytes.readUInt8(at);
      const sectorEnd = Math.min(at - (at % SECTOR) + SECTOR, bytes.length);
      if (size === 0) {
        at = sectorEnd;
        continue;
      }
      if (at + size > sectorEnd) throw input.formatError(`${subject} has a record that does not end in its sector`);
      const record = recordOf(disk, bytes.subarray(at, at + size), subject);
      if (!isDots(record)) yield record;
      at += size;
    }
  }
}

/** The first record of a folder, which is its own. @throws Error with the code EINVAL */
export async function ownRecord(disk: Disk, offset: number, subject: string): Promise<DirectoryRecord> {
  const { input } = disk;
  const [size = 0] = await input.bytes(offset, 1, subject);
  const record = recordOf(disk, await input.bytes(offset, size, subject), subject);
  if (!(isDots(record) && record.flags & FLAG.directory) || record.place.offset !== offset)
    throw input.formatError(`${subject} does not start with its own record`);
  return record;
}

/** @param bytes the record, with the length that it says it has */
export function recordOf({ input, block }: Disk, bytes: Buffer, subject: string): DirectoryRecord {
  const length = bytes.length > RECORD_HEAD ? bytes.readUInt8(32) : 0;
  if (length === 0 || RECORD_HEAD + length > bytes.length)
    throw input.formatError(`${subject} has a record of ${bytes.length} bytes with a name of ${length} bytes`);
  // Blocks of extended attributes come before the content.
  const start = bytes.readUInt32LE(2) + bytes.readUInt8(1);
  return {
    identifier: bytes.subarray(RECORD_HEAD, RECORD_HEAD + length),
    flags: bytes.readUInt8(25),
    place: { offset: start * block, length: bytes.readUInt32LE(10) },
    isInterleaved: bytes.readUInt16LE(26) !== 0,
    time: decodeTime(bytes.subarray(18, 25)),
    rest: bytes.subarray(RECORD_HEAD + length + ((length + 1) % 2)),
  };
}

const isDots = ({ identifier }: DirectoryRecord): boolean =>
  identifier.length === 1 && (identifier[0] === 0 || identifier[0] === 1);

/**
 * The fields in a record and in its continuation areas. @param skip bytes before them that belong to others
 * @throws Error with the code EINVAL
 */
export async function fieldsOf({ input, block }: Disk, rest: Buffer, skip: number, subject: string): Promise<Field[]> {
  const fields: Field[] = [];
  let area = rest.subarray(skip);
  for (let areas = 0; ; areas++) {
    if (areas > MAX_AREAS) throw input.formatError(`${subject} has more than ${MAX_AREAS} continuation areas`);
    const found = splitFields(area);
    const next = found.find(({ signature, data }) => signature === 'CE' && data.length >= 24)?.data;
    fields.push(...found);
    if (!next) return fields;
    const [at, length] = [next.readUInt32LE(8), next.readUInt32LE(16)];
    if (at + length > SECTOR) throw input.formatError(`${subject} has a continuation area of ${length} bytes`);
    area = await input.bytes(next.readUInt32LE(0) * block + at, length, `a continuation area of ${subject}`);
  }
}

/** Ends at what is no field: there may be padding, or bytes of somebody else. */
function splitFields(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at + FIELD_HEAD <= bytes.length;) {
    const length = bytes.readUInt8(at + 2);
    const signature = bytes.toString('latin1', at, at + 2);
    if (length < FIELD_HEAD || at + length > bytes.length || signature === 'ST') break;
    fields.push({ signature, data: bytes.subarray(at + FIELD_HEAD, at + length) });
    at += length;
  }
  return fields;
}
