/** A file or a block device of the system, as a block device. */
import { close as closeFile, constants, fdatasync, fstat, ftruncate, open as openFile, type Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withClose } from './around.js';
import { checkRange, failure, type BlockBackend, type MaybePromise } from './backend.js';
import { readAt, writeAt } from './descriptor.js';
import { fileExtents } from './file-extents.js';
import { chain, forEachInTurn } from './maybe.js';
import { pace, type Pace, type PaceOptions } from './pace.js';
import { shareable } from './shared.js';
import { checkSize, pieces, ZEROS } from './sizes.js';
import { loadSparse, type Sparse } from './sparse.js';

export interface FileOptions {
  readonly readOnly?: boolean;
  /**
   * Opens a block device for writing only if nothing else uses it (EBUSY: it is mounted, or swap, or another process has
   * it so), and keeps it so. The kernel may refuse (EBUSY) to zero or trim a device that another descriptor keeps.
   */
  readonly exclusive?: boolean;
  /** Bytes of a character device that has blocks, such as /dev/rdisk4 of macOS: it does not tell them itself. */
  readonly size?: number;
  /** Makes a new file of this many bytes, all of it a hole. Fails with EEXIST if the file exists. */
  readonly create?: number;
  /** When requests are synchronous. */
  readonly pace?: PaceOptions;
  /** The system calls for holes; `false` uses none. Default: what `loadSparse` finds. */
  readonly sparse?: Sparse | false;
}

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  size: number;
  /** A regular file, not a block device. */
  readonly isRegular: boolean;
  readonly sparse: Sparse | undefined;
}

const SECTOR = 512;
/** Bytes to punch in one call. If all of them are in the page cache, a call takes a few milliseconds. */
const PUNCH = 64 << 20;

const fs = {
  open: promisify(openFile),
  stat: promisify(fstat),
  sync: promisify(fdatasync),
  truncate: promisify(ftruncate),
  close: promisify(closeFile),
};

/**
 * Opens a file. Requests that the page cache can answer are synchronous (see pace.ts). Without support for holes,
 * `trim` is absent or does nothing, `zero` writes zeros, and everything is data.
 * @throws Error with a `code`: the errors of `open`; EINVAL if the path is neither a file nor a block device, nor another
 * device whose size is given
 */
export async function file(path: string, options: FileOptions = {}): Promise<BlockBackend> {
  const { readOnly = false, exclusive = false, create } = options;
  if (create !== undefined) checkSize(create);
  const sparse = options.sparse === false ? undefined : (options.sparse ?? (await loadSparse()));
  // For a block device, O_EXCL without O_CREAT means: only if no filesystem, swap or other driver has it.
  const existing = exclusive ? constants.O_RDWR | constants.O_EXCL : readOnly ? 'r' : 'r+';
  const fd = await fs.open(path, create !== undefined ? 'wx+' : existing);
  try {
    if (create !== undefined) await fs.truncate(fd, create);
    const stat = await fs.stat(fd);
    const opened = { fd, path, size: await sizeOf(stat, path, options.size), isRegular: stat.isFile(), sparse };
    const device = backendOf(opened, options);
    // Custom options apply to this thread only, so such a device has no recipe.
    if (options.sparse !== undefined || options.pace !== undefined) return device;
    const from = (): SharedFile => ({ fd, path, size: opened.size, isRegular: opened.isRegular, readOnly });
    return shareable(device, () => ({ module: import.meta.url, name: openSharedFile.name, args: from() }));
  } catch (error) {
    await fs.close(fd);
    throw error;
  }
}

type SharedFile = Omit<OpenFile, 'sparse'> & { readonly readOnly: boolean };

/** Opens a file that another thread of this process has open: descriptors belong to the process, not to the thread. */
export async function openSharedFile({ readOnly, ...opened }: SharedFile): Promise<BlockBackend> {
  const device = backendOf({ ...opened, sparse: await loadSparse() }, { readOnly });
  return withClose(device, () => undefined);
}

/** The inode of a block device does not hold its size, so sysfs is read. */
async function sizeOf(stat: Stats, path: string, given: number | undefined): Promise<number> {
  if (stat.isFile()) return stat.size;
  if (stat.isCharacterDevice() && given !== undefined) return given;
  if (!stat.isBlockDevice()) throw failure('EINVAL', `${path}: neither a file nor a block device`);
  return Number(await readFile(`/sys/dev/block/${deviceNumbers(stat.rdev)}/size`, 'utf8')) * SECTOR;
}

/**
 * Converts `st_rdev` to the form of the kernel's files, such as `8:1`. The major number has 12 bits from bit 8 on. The
 * minor number has its low 8 bits at the bottom and the rest from bit 20 on (gnu_dev_major in the C library).
 */
export const deviceNumbers = (rdev: number): string =>
  `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;

function backendOf(opened: OpenFile, { readOnly = false, pace: options }: FileOptions): BlockBackend {
  const { fd, path, isRegular, sparse } = opened;
  const readPace = pace(options);
  const changes = readOnly ? undefined : changesOf(opened, pace(options));
  return {
    get size() {
      return opened.size;
    },
    read: (into, offset) => {
      checkRange(opened, offset, into.length);
      return readAt(fd, into, offset, readPace, path);
    },
    ...(changes && { write: changes.write, flush: changes.flush, zero: changes.zero }),
    ...(changes && sparse && { trim: changes.trim }),
    ...(changes && isRegular && { resize: changes.resize }),
    extents: (offset, length) => {
      checkRange(opened, offset, length);
      return fileExtents(fd, isRegular ? sparse : undefined, offset, length);
    },
    close: () => fs.close(fd),
  };
}

type Changes = Required<Pick<BlockBackend, 'write' | 'flush' | 'trim' | 'zero' | 'resize'>>;

function changesOf(opened: OpenFile, writePace: Pace): Changes {
  const { fd, path, sparse } = opened;
  let flushError: unknown;
  return {
    write: (bytes, offset) => {
      checkRange(opened, offset, bytes.length);
      return writeAt(fd, bytes, offset, writePace);
    },
    flush: async () => {
      // After a failed fdatasync the kernel treats the pages as clean, so the next fdatasync would report success.
      if (flushError !== undefined)
        throw failure('EIO', `${path}: a flush failed before, so writes may be lost`, flushError);
      await fs.sync(fd).catch((error: unknown) => {
        flushError = error;
        throw error;
      });
    },
    trim: (offset, length) => {
      checkRange(opened, offset, length);
      return chain(allocated(sparse?.punch, fd, offset, length), () => undefined);
    },
    zero: (offset, length, { mayTrim = true, fast = false } = {}) => {
      checkRange(opened, offset, length);
      return chain(allocated(mayTrim ? sparse?.punch : sparse?.zeroRange, fd, offset, length), (done) => {
        if (done) return;
        if (fast) throw failure('ENOTSUP', `${path}: zeros here are not faster than writing them`);
        return forEachInTurn(pieces(offset, length, ZEROS.length), ([from, count]) =>
          writeAt(fd, ZEROS.subarray(0, count), from, writePace),
        );
      });
    },
    resize: async (size) => {
      checkSize(size);
      await fs.truncate(fd, size);
      opened.size = size;
    },
  };
}

/**
 * Calls for the whole range, with a turn of the event loop between pieces. @returns false if the call is not supported
 */
function allocated(
  call: Sparse['punch'] | undefined,
  fd: number,
  offset: number,
  length: number,
): MaybePromise<boolean> {
  if (call === undefined) return false;
  if (length <= PUNCH) return call(fd, offset, length);
  return allocatedInTurns(call, fd, offset, length);
}

async function allocatedInTurns(call: Sparse['punch'], fd: number, offset: number, length: number): Promise<boolean> {
  for (const [from, count] of pieces(offset, length, PUNCH)) {
    if (!call(fd, from, count)) return false;
    await nextTurn();
  }
  return true;
}
