/** What callers may write for paths, flags, modes and times, as the numbers and bytes that the kernel takes. */
import { constants, type OpenMode, type PathLike, type TimeLike } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { O, type Time } from './protocol.js';

const WRITE = O.WRONLY | O.CREAT;
const BOTH = O.RDWR | O.CREAT;

/** File system flags of `node:fs`. */
const FLAGS: Readonly<Record<string, number>> = {
  r: O.RDONLY,
  rs: O.RDONLY | O.SYNC,
  sr: O.RDONLY | O.SYNC,
  'r+': O.RDWR,
  'rs+': O.RDWR | O.SYNC,
  'sr+': O.RDWR | O.SYNC,
  w: WRITE | O.TRUNC,
  wx: WRITE | O.TRUNC | O.EXCL,
  xw: WRITE | O.TRUNC | O.EXCL,
  'w+': BOTH | O.TRUNC,
  'wx+': BOTH | O.TRUNC | O.EXCL,
  'xw+': BOTH | O.TRUNC | O.EXCL,
  a: WRITE | O.APPEND,
  ax: WRITE | O.APPEND | O.EXCL,
  xa: WRITE | O.APPEND | O.EXCL,
  as: WRITE | O.APPEND | O.SYNC,
  sa: WRITE | O.APPEND | O.SYNC,
  'a+': BOTH | O.APPEND,
  'ax+': BOTH | O.APPEND | O.EXCL,
  'xa+': BOTH | O.APPEND | O.EXCL,
  'as+': BOTH | O.APPEND | O.SYNC,
  'sa+': BOTH | O.APPEND | O.SYNC,
};

function invalid(name: string, value: unknown, why: string): TypeError {
  const code = 'ERR_INVALID_ARG_VALUE';
  const error = new TypeError(`The argument '${name}' is invalid: ${why}. Received ${JSON.stringify(String(value))}`);
  return Object.assign(error, { code });
}

/** What the host's numbers mean, such as those of `constants.O_CREAT`: each system and each processor has its own. */
function ofHost(flags: number): number {
  const host = constants as unknown as Readonly<Record<string, number | undefined>>;
  const isIn = (bits: number | undefined): boolean => bits !== undefined && bits !== 0 && (flags & bits) === bits;
  return Object.entries(O)
    .filter(([name]) => isIn(host[`O_${name}`]))
    .reduce((all, [, number]) => all | number, 0);
}

/** @throws TypeError for a flag that `node:fs` does not know */
export function flagsOf(flags: OpenMode | undefined, byDefault = 'r'): number {
  if (typeof flags === 'number') return ofHost(flags);
  const known = FLAGS[flags ?? byDefault];
  if (known === undefined) throw invalid('flags', flags, 'it is no flag of files');
  return known;
}

/** @throws TypeError for text that is no octal number */
export function modeOf(mode: string | number | null | undefined, byDefault: number): number {
  if (mode === undefined || mode === null) return byDefault;
  if (typeof mode === 'number') return mode;
  if (!/^[0-7]+$/.test(mode)) throw invalid('mode', mode, 'it must be an octal number');
  return Number.parseInt(mode, 8);
}

/** @param what such as `"mode" argument` */
const notOfType = (what: string, type: string, value: unknown): Error =>
  Object.assign(
    new TypeError(`The ${what} must be of type ${type}. Received type ${typeof value} (${inspect(value)})`),
    {
      code: 'ERR_INVALID_ARG_TYPE',
    },
  );

/** Of `copyFile`: `COPYFILE_*`, all of them 7. @throws TypeError, RangeError */
export function copyModeOf(mode: number | null | undefined): number {
  if (mode === undefined || mode === null) return 0;
  if (typeof mode !== 'number') throw notOfType('"mode" argument', 'number', mode);
  if (Number.isInteger(mode) && mode >= 0 && mode <= 7) return mode;
  const message = `The value of "mode" is out of range. It must be >= 0 && <= 7. Received ${mode}`;
  throw Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });
}

/** @throws TypeError if an option has a value of another type */
export function checkTypes(options: object, types: Readonly<Record<string, string>>): void {
  if (typeof options !== 'object') throw notOfType('"options" argument', 'object', options);
  for (const [name, type] of Object.entries(types)) {
    const value = (options as Readonly<Record<string, unknown>>)[name];
    if (value !== undefined && typeof value !== type) throw notOfType(`"options.${name}" property`, type, value);
  }
}

/** @throws TypeError for a path with a NUL, or for a URL that is no `file:` URL */
export function pathBytes(path: PathLike): Buffer {
  const bytes =
    path instanceof URL ? Buffer.from(fileURLToPath(path)) : typeof path === 'string' ? Buffer.from(path) : path;
  if (!(bytes instanceof Uint8Array)) {
    const error = new TypeError(`The "path" argument must be a string, a Buffer or a URL. Received ${typeof path}`);
    throw Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' });
  }
  if (bytes.includes(0)) throw invalid('path', path, 'it has a NUL');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** For messages. */
export const pathText = (path: PathLike): string => (typeof path === 'string' ? path : pathBytes(path).toString());

/** Seconds as a number or text, or a Date. @throws TypeError for anything else */
export function timeOf(time: TimeLike): Time {
  const [count, unit] = time instanceof Date ? [time.getTime(), 1000] : [Number(time), 1];
  if (!Number.isFinite(count)) throw invalid('time', time, 'it must be a number of seconds or a Date');
  const whole = Math.floor(count / unit);
  const rest = (count - whole * unit) * (1e9 / unit); // exact for a Date: a fraction of seconds has no exact number
  return { seconds: BigInt(whole), nanoseconds: Math.min(999_999_999, Math.round(rest)) };
}

/** What Node.js throws for a signal. @throws Error with the name AbortError and the code ABORT_ERR if it is aborted */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  const error = new Error('The operation was aborted', { cause: signal.reason });
  throw Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' });
}
