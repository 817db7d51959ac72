/**
 * The records of pax headers: `LENGTH KEY=VALUE\n`. Names and values are bytes.
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03
 */
import { invalid } from './byte-reader.js';
import { pathOf } from './names.js';

/** Keys are text with one character for each byte. */
export type PaxRecord = readonly [key: string, value: Buffer];

/** What a pax header says about a member. An empty record stands for the header's own value. */
export interface PaxFields {
  readonly records: ReadonlyMap<string, Buffer>;
  /** Of GNU's sparse format 0.0, in which keys are repeated: offset and length in turns. */
  readonly sparse: readonly number[];
}

/** @throws Error with the code EINVAL for what is no list of records */
export function parsePax(bytes: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? '' : bytes.toString('latin1', at, Math.min(space, at + 20));
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    if (
      !/^[0-9]+$/.test(digits) ||
      end > bytes.length ||
      bytes[end - 1] !== 0x0a ||
      equals <= space + 1 ||
      equals >= end
    )
      throw invalid(`tar: byte ${at} of a pax header is not the start of a record`);
    const key = bytes.toString('latin1', space + 1, equals);
    if (key.includes('\0')) throw invalid('tar: a pax header with NUL in a key');
    records.push([key, bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

const [SPARSE_OFFSET, SPARSE_LENGTH] = ['GNU.sparse.offset', 'GNU.sparse.numbytes'];

/** What a member's own records say, over what is said for all. @throws Error with the code EINVAL */
export function fieldsOf(global: ReadonlyMap<string, Buffer>, own: readonly PaxRecord[]): PaxFields {
  const records = new Map(global);
  const sparse: number[] = [];
  for (const [key, value] of own) {
    if (key === (sparse.length % 2 === 0 ? SPARSE_OFFSET : SPARSE_LENGTH)) sparse.push(integerOf(key, value));
    else if (key === SPARSE_OFFSET || key === SPARSE_LENGTH) throw invalid(`tar: ${key} out of turn`);
    records.set(key, value);
  }
  for (const [key, value] of records) if (value.length === 0 && !isXattr(key)) records.delete(key);
  return { records, sparse };
}

/** @throws Error with the code EINVAL for what is no decimal integer */
export function integerOf(key: string, value: Buffer): number {
  const text = value.toString('latin1');
  const number = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw invalid(`tar: ${key} is ${JSON.stringify(text.slice(0, 40))}, which is no number that a file can have`);
}

/** Seconds with a fraction. Digits behind the ninth are dropped. @throws Error with the code EINVAL */
export function timeOf(key: string, value: Buffer): { mtime: number; nanoseconds?: number } {
  const text = value.toString('latin1');
  const [, sign = '', whole = '', fraction = ''] = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text) ?? [];
  if (whole === '') throw invalid(`tar: ${key} is ${JSON.stringify(text.slice(0, 40))}, which is no time`);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (nanoseconds === 0) return { mtime: sign === '' ? Number(whole) : 0 - Number(whole) };
  if (sign === '') return { mtime: Number(whole), nanoseconds };
  return { mtime: 0 - Number(whole) - 1, nanoseconds: 1e9 - nanoseconds };
}

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';
const isXattr = (key: string): boolean => key.startsWith(SCHILY) || key.startsWith(LIBARCHIVE);

/**
 * Extended attributes. GNU tar writes `=` and `%` of their names as `%3D` and `%25`; libarchive, which writes each of them
 * twice, has names as in URLs and values in base64.
 */
export function xattrsOf(records: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Uint8Array> | undefined {
  const found = new Map<string, Uint8Array>();
  const add = (name: string, value: Buffer): void => void found.set(pathOf(Buffer.from(name, 'latin1')), value);
  for (const [key, value] of records)
    if (key.startsWith(LIBARCHIVE))
      add(
        key
          .slice(LIBARCHIVE.length)
          .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
        Buffer.from(value.toString('latin1'), 'base64'),
      );
  for (const [key, value] of records)
    if (key.startsWith(SCHILY))
      add(key.slice(SCHILY.length).replaceAll('%3D', '=').replaceAll('%25', '%'), Buffer.from(value));
  return found.size > 0 ? found : undefined;
}
