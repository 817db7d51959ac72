/**
 * Names of files are bytes on Linux, and need not be UTF-8. In paths, a byte that is no part of valid UTF-8 is the lone
 * surrogate U+DC80 to U+DCFF, as in PEP 383 (https://peps.python.org/pep-0383/).
 */
import { isUtf8 } from 'node:buffer';

const SURROGATE = /\p{Surrogate}/u;
const FIRST_ESCAPE = 0xdc00;

/**
 * The bytes of a path, a name or the target of a link.
 * @throws RangeError for surrogates that `pathOf` does not make: then two paths could be the same bytes
 */
export function pathBytes(path: string): Buffer {
  if (!SURROGATE.test(path)) return Buffer.from(path);
  const parts = Array.from(path, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code >= 0xdc80 && code <= 0xdcff ? Buffer.of(code - FIRST_ESCAPE) : Buffer.from(character);
  });
  const bytes = Buffer.concat(parts);
  if (pathOf(bytes) !== path)
    throw new RangeError(
      `${JSON.stringify(path)} is the name of no file: half of a surrogate pair stands for a byte that is no UTF-8 (pathOf makes such names)`,
    );
  return bytes;
}

/** Bytes of a path, a name or the target of a link. @throws RangeError as `pathBytes` does */
export const pathLength = (path: string): number =>
  SURROGATE.test(path) ? pathBytes(path).length : Buffer.byteLength(path);

/** Writes a path, a name or the target of a link. @returns its bytes. @throws RangeError as `pathBytes` does */
export const writePath = (path: string, into: Buffer, offset: number): number =>
  SURROGATE.test(path) ? pathBytes(path).copy(into, offset) : into.write(path, offset);

/** Whether a path has bytes that are no UTF-8. */
export const hasForeignBytes = (path: string): boolean => SURROGATE.test(path);

/** The path that has these bytes. `pathBytes` is its inverse. */
export function pathOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString();
  let path = '';
  for (let at = 0; at < buffer.length;) {
    const length = characterAt(buffer, at);
    path +=
      length > 0 ? buffer.toString('utf8', at, at + length) : String.fromCharCode(FIRST_ESCAPE + (buffer[at] ?? 0));
    at += Math.max(length, 1);
  }
  return path;
}

/** Bytes of the character of UTF-8 at `at`; 0 if there is none. */
function characterAt(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++)
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  return 0;
}

/** The order of the bytes of two names, for `sort`. */
export function compareNames(one: string, other: string): number {
  if (!BEYOND.test(one) && !BEYOND.test(other)) return one < other ? -1 : Number(one > other);
  return Buffer.compare(pathBytes(one), pathBytes(other));
}

/** Only from U+D800 on do UTF-16 and UTF-8 differ in order. */
const BEYOND = /[\ud800-\uffff]/;

/**
 * The bytes of the path of an entry that an archive can hold.
 * @throws RangeError for a path that is absolute, empty, has an empty part, `.`, `..` or NUL in it
 */
export function entryPath(path: string): Buffer {
  const bytes = pathBytes(path);
  if (path.includes('\0') || path.split('/').some((part) => part === '' || part === '.' || part === '..'))
    throw new RangeError(
      `${JSON.stringify(path)} is no path of an entry: it is relative to the root, without empty parts, "." and "..", and without NUL`,
    );
  return bytes;
}
