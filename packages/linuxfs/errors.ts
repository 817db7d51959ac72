/** Errors as `node:fs` throws them: `ENOENT: no such file or directory, open '/x'`. */
import { getSystemErrorMap } from 'node:util';

/** Linux's numbers (`asm-generic/errno.h`), whatever the host's are. */
const LINUX = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  ENOTSUP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EUCLEAN: 117,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;

/** What libuv has no text for. */
const TEXTS: Readonly<Record<string, string>> = {
  ENODATA: 'no data available',
  EBADMSG: 'bad message',
  ESTALE: 'stale file handle',
  EUCLEAN: 'structure needs cleaning',
  EDQUOT: 'disk quota exceeded',
};

/** The kernel's own number for what it does not support. */
const KERNEL_ENOTSUPP = 524;

const CODES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(LINUX).map(([code, number]) => [number, code] as const),
  [KERNEL_ENOTSUPP, 'ENOTSUP'],
]);
const NUMBERS: ReadonlyMap<string, number> = new Map(Object.entries(LINUX));
const OF_HOST: ReadonlyMap<string, { readonly errno: number; readonly text: string }> = new Map(
  [...getSystemErrorMap()].map(([errno, [code, text]]) => [code, { errno, text }]),
);

export interface FsError extends Error {
  code: string;
  /** The host's, negative, as in `node:fs`. */
  errno: number;
  syscall: string;
  path?: string;
  dest?: string;
}

/** @param number an errno of Linux, positive */
export function fsError(number: number, syscall: string, path?: string, dest?: string): FsError {
  const code = CODES.get(number) ?? `E${number}`;
  return made(code, OF_HOST.get(code)?.errno ?? -number, syscall, path, dest);
}

/** The same error of another call. What is no error of the system stays as it is. */
export function renamed(error: unknown, syscall: string, path: string, dest: string): unknown {
  const { code, errno, cause } = error as FsError;
  if (typeof errno !== 'number') return error;
  return Object.assign(made(code, errno, syscall, path, dest), cause === undefined ? {} : { cause });
}

function made(code: string, errno: number, syscall: string, path?: string, dest?: string): FsError {
  const text = OF_HOST.get(code)?.text ?? TEXTS[code] ?? 'unknown error';
  const where = path === undefined ? '' : ` '${path}'${dest === undefined ? '' : ` -> '${dest}'`}`;
  return Object.assign(new Error(`${code}: ${text}, ${syscall}${where}`), {
    errno,
    code,
    syscall,
    ...(path === undefined ? {} : { path }),
    ...(dest === undefined ? {} : { dest }),
  });
}

/** The errno of an error that a device threw; EIO for those without a code that Linux knows. */
export function errnoOf(error: unknown): number {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? (NUMBERS.get(code) ?? LINUX.EIO) : LINUX.EIO;
}
