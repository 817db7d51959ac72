/**
 * What the header of a tar archive cannot hold, as records of a pax header in front of it: large or negative numbers,
 * nanoseconds, extended attributes, names that are no UTF-8. The values are bytes, which tar-stream has no way to write.
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03
 */
import type { Entry } from './entry.js';
import { pathBytes } from './names.js';

/** The largest numbers in the octal digits of a header. */
export const MAX_ID = 0o777777;
export const MAX_TIME = 0x7fffffff;
/** Bytes of a name in a header. */
const MAX_NAME = 100;

/** @returns a pax header, with its own header in front; undefined if the member's header can hold everything */
export function extraOf(entry: Entry): Buffer | undefined {
  const { path, uid, gid, mtime, nanoseconds = 0, xattrs, link, hardLink } = entry;
  const records: (readonly [key: string, value: Buffer | string])[] = [];
  if (uid > MAX_ID) records.push(['uid', String(uid)]);
  if (gid > MAX_ID) records.push(['gid', String(gid)]);
  if (mtime < 0 || mtime > MAX_TIME || nanoseconds > 0) records.push(['mtime', timeText(mtime, nanoseconds)]);
  for (const [key, value] of xattrs ?? []) records.push([`SCHILY.xattr.${key}`, Buffer.from(value)]);
  const name = entry.type === 'directory' ? `${path}/` : path;
  const isOdd = [name, link ?? '', hardLink ?? ''].some((text) => /\p{Surrogate}/u.test(text));
  // tar-stream makes a pax header for a long name, if there is none yet.
  if (records.length === 0 && !isOdd) return undefined;
  if (!isShort(name)) records.push(['path', pathBytes(name)]);
  const target = hardLink ?? link;
  if (target !== undefined && !isShort(target)) records.push(['linkpath', pathBytes(target)]);
  const content = Buffer.concat(records.map(([key, value]) => recordOf(key, Buffer.from(value as string))));
  return Buffer.concat([headerFor(content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

const BLOCK = 512;

/** Of a pax header only its size and its checksum matter. */
function headerFor(size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const put = (text: string, at: number): void => void header.write(text, at, 'latin1');
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  put('pax', 0);
  for (const [value, at] of [
    [0o644, 100],
    [0, 108],
    [0, 116],
  ] as const)
    put(octal(value, 7), at);
  put(octal(size, 11), 124);
  put(octal(0, 11), 136);
  put('        x', 148);
  put('ustar\0' + '00', 257);
  put(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
  );
  return header;
}

/** Whether a header holds a name as it is. */
const isShort = (name: string): boolean => /^[\x20-\x7e]*$/.test(name) && name.length <= MAX_NAME;

/** A name for the header behind a record that has the whole one. */
export const shortName = (name: string): string => name.replace(/[^\x20-\x7e]/g, '_').slice(0, MAX_NAME);

function timeText(mtime: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(mtime);
  // −0.25 s is second −1 and 750,000,000 ns.
  const isNegative = mtime < 0;
  const [seconds, rest] = isNegative ? [-mtime - 1, 1_000_000_000 - nanoseconds] : [mtime, nanoseconds];
  return `${isNegative ? '-' : ''}${seconds}.${String(rest).padStart(9, '0')}`;
}

/** The length of a record counts its own digits. */
function recordOf(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}
