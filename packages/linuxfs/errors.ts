/** Errors as `node:fs` throws them: `ENOENT: no such file or directory, open '/x'`. */
import { getSystemErrorMap } from 'node:util';

const BY_NUMBER: ReadonlyMap<number, readonly [code: string, text: string]> = new Map(
  [...getSystemErrorMap()].map(([number, error]) => [-number, error]),
);
const BY_CODE: ReadonlyMap<string, number> = new Map([...BY_NUMBER].map(([number, [code]]) => [code, number]));

/** Linux's numbers that libuv has no name for. */
const OTHERS: Readonly<Record<number, readonly [code: string, text: string]>> = {
  61: ['ENODATA', 'no data available'],
  74: ['EBADMSG', 'bad message'],
  117: ['EUCLEAN', 'structure needs cleaning'],
  122: ['EDQUOT', 'disk quota exceeded'],
  524: ['ENOTSUP', 'operation not supported'],
};

export interface FsError extends Error {
  code: string;
  /** Negative, as in `node:fs`. */
  errno: number;
  syscall: string;
  path?: string;
  dest?: string;
}

/** @param number an errno, positive */
export function fsError(number: number, syscall: string, path?: string, dest?: string): FsError {
  const [code, text] = BY_NUMBER.get(number) ?? OTHERS[number] ?? [`E${number}`, 'unknown error'];
  const where = path === undefined ? '' : ` '${path}'${dest === undefined ? '' : ` -> '${dest}'`}`;
  return Object.assign(new Error(`${code}: ${text}, ${syscall}${where}`), {
    errno: -number,
    code,
    syscall,
    ...(path === undefined ? {} : { path }),
    ...(dest === undefined ? {} : { dest }),
  });
}

const EIO = 5;

/** The errno of an error that a device threw; EIO for those without a code that Linux knows. */
export function errnoOf(error: unknown): number {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? (BY_CODE.get(code) ?? EIO) : EIO;
}
