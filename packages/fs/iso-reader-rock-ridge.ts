/** Rock Ridge fields (IEEE P1282), by which a record becomes a file of a Unix. */
import type { Parsing } from '@nodeos/block';
import { decodeLongTime, decodeTime, PART, TIMES } from './iso-format.js';
import type { Field } from './iso-reader-records.js';

/** What the fields say. What they say nothing about is undefined. */
export interface Attributes {
  readonly name?: string;
  /** `st_mode`. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970. */
  readonly mtime?: number;
  readonly link?: string;
  readonly rdev?: readonly [major: number, minor: number];
  /** The number of the block of a folder that was moved to another place because it was too deep. */
  readonly movedTo?: number;
  /** The record is at the other place: the folder is listed where it came from. */
  readonly isMoved?: boolean;
  /** The content is compressed (zisofs). */
  readonly isCompressed?: boolean;
}

type Reader = (data: Buffer) => Attributes;

/** Each with the smallest length of its data. */
const READERS: Readonly<Record<string, { readonly length: number; readonly read: Reader }>> = {
  PX: {
    length: 32,
    read: (data) => ({ mode: data.readUInt32LE(0), uid: data.readUInt32LE(16), gid: data.readUInt32LE(24) }),
  },
  PN: { length: 16, read: (data) => ({ rdev: deviceOf(data.readUInt32LE(0), data.readUInt32LE(8)) }) },
  TF: { length: 1, read: timeOf },
  CL: { length: 8, read: (data) => ({ movedTo: data.readUInt32LE(0) }) },
  RE: { length: 0, read: () => ({ isMoved: true }) },
  ZF: { length: 0, read: () => ({ isCompressed: true }) },
};

/** Whether the fields of a root say that there is Rock Ridge. */
export const isRockRidge = (fields: readonly Field[]): boolean => fields.some(({ signature }) => signature === 'PX');

/** @throws Error with the code EINVAL */
export function attributesOf(fields: readonly Field[], { formatError }: Parsing, subject: string): Attributes {
  let all: Attributes = {};
  for (const { signature, data } of fields) {
    const reader = READERS[signature];
    if (!reader) continue;
    if (data.length < reader.length) throw formatError(`${subject} has a field ${signature} of ${data.length} bytes`);
    all = { ...all, ...reader.read(data) };
  }
  const [name, link] = [nameOf(fields), linkOf(fields)];
  return { ...all, ...(name === undefined ? {} : { name }), ...(link === undefined ? {} : { link }) };
}

/** Some writers have the two numbers in the two halves, others a whole number in the low half. */
function deviceOf(high: number, low: number): [major: number, minor: number] {
  if (high > 0 || low <= 0xff) return [high, low];
  return [(low >>> 8) & 0xfff, (low & 0xff) | ((low >>> 12) & 0xfff00)];
}

function timeOf(data: Buffer): Attributes {
  const flags = data.readUInt8(0);
  if ((flags & TIMES.modification) === 0) return {};
  const isLong = (flags & TIMES.long) !== 0;
  const length = isLong ? 17 : 7;
  const at = 1 + (flags & TIMES.creation ? length : 0);
  if (at + length > data.length) return {};
  const bytes = data.subarray(at, at + length);
  return { mtime: isLong ? decodeLongTime(bytes) : decodeTime(bytes) };
}

/** The parts of the name, which is undefined if there is none: the record's own name counts then. */
function nameOf(fields: readonly Field[]): string | undefined {
  const parts = fields
    .filter(({ signature, data }) => signature === 'NM' && data.length > 0)
    .map(({ data }) => data.subarray(1));
  return parts.length === 0 ? undefined : Buffer.concat(parts).toString();
}

/** The target of a link. A part that continues is followed by the rest of it, all others by a slash. */
function linkOf(fields: readonly Field[]): string | undefined {
  const all = fields.filter(({ signature }) => signature === 'SL');
  if (all.length === 0) return undefined;
  const parts: Buffer[] = [];
  let glue = '';
  for (const { flags, text } of all.flatMap(({ data }) => components(data.subarray(1)))) {
    parts.push(Buffer.from(glue), partOf(flags, text));
    glue = flags & (PART.continues | PART.root) ? '' : '/';
  }
  return Buffer.concat(parts).toString();
}

interface Component {
  readonly flags: number;
  readonly text: Buffer;
}

function components(data: Buffer): Component[] {
  const found: Component[] = [];
  for (let at = 0; at + 2 <= data.length;) {
    const [flags, length] = [data.readUInt8(at), data.readUInt8(at + 1)];
    found.push({ flags, text: data.subarray(at + 2, at + 2 + length) });
    at += 2 + length;
  }
  return found;
}

function partOf(flags: number, text: Buffer): Buffer {
  if (flags & PART.root) return Buffer.from('/');
  if (flags & PART.parent) return Buffer.from('..');
  return flags & PART.current ? Buffer.from('.') : text;
}
