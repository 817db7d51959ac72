/**
 * Holes in files: lseek with SEEK_DATA and SEEK_HOLE, and fallocate, which Node.js does not offer. They are called
 * through koffi, an optional dependency that brings its own binaries for glibc and musl. One call takes at least 0.2
 * µs. Without koffi, files work without holes.
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { failure } from './backend.js';

/** Offsets and lengths are in bytes. The calls are synchronous and throw an Error with a `code`. */
export interface Sparse {
  /** The first byte of data at or after `offset`; undefined if only a hole follows. */
  readonly nextData: (fd: number, offset: number) => number | undefined;
  /** The first byte of a hole at or after `offset`. The end of the file counts as a hole. */
  readonly nextHole: (fd: number, offset: number) => number | undefined;
  /** Makes a hole. @returns false if this file cannot have a hole there */
  readonly punch: (fd: number, offset: number, length: number) => boolean;
  /**
   * Makes zeros and keeps their space allocated. @returns false if this file cannot do that faster than by writing them
   */
  readonly zeroRange: (fd: number, offset: number, length: number) => boolean;
}

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
/** Architectures on which `off_t` has 64 bits in every C library. */
const SUPPORTED_ARCHITECTURES = new Set(['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x']);
const { ENXIO, EINVAL, EOPNOTSUPP, ENOSYS, ENODEV } = constants.errno;
const UNSUPPORTED = new Set([EINVAL, EOPNOTSUPP, ENOSYS, ENODEV]);

let loaded: Promise<Sparse | undefined> | undefined;

/** The calls, loaded once; undefined if they are not available. */
export function loadSparse(): Promise<Sparse | undefined> {
  return (loaded ??= load().catch(() => undefined));
}

async function load(): Promise<Sparse | undefined> {
  if (process.platform !== 'linux' || !SUPPORTED_ARCHITECTURES.has(process.arch)) return undefined;
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)') as (...args: number[]) => number;
  const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)') as typeof lseek;

  function seek(fd: number, offset: number, whence: number): number | undefined {
    const found = lseek(fd, offset, whence);
    if (found >= 0) return found;
    if (koffi.errno() === ENXIO) return undefined;
    throw systemError('lseek', koffi.errno());
  }

  function allocate(fd: number, mode: number, offset: number, length: number): boolean {
    if (length === 0 || fallocate(fd, mode, offset, length) === 0) return true;
    if (UNSUPPORTED.has(koffi.errno())) return false;
    throw systemError('fallocate', koffi.errno());
  }

  return {
    nextData: (fd, offset) => seek(fd, offset, SEEK_DATA),
    nextHole: (fd, offset) => seek(fd, offset, SEEK_HOLE),
    punch: (fd, offset, length) => allocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length),
    zeroRange: (fd, offset, length) => allocate(fd, ZERO_RANGE | KEEP_SIZE, offset, length),
  };
}

function systemError(call: string, errno: number): Error {
  const code = getSystemErrorName(-errno);
  return failure(code, `${code}: ${call}`);
}
