/** A file, or a block device of the system, as a block device. */
import { close as closeFile, fdatasync, fstat, ftruncate, open as openFile, type Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withClose } from './around.js';
import { checkRange, failure, type BlockBackend, type MaybePromise } from './backend.js';
import { readAt, writeAt } from './descriptor.js';
import { fileExtents } from './file-extents.js';
import { after, inTurn } from './maybe.js';
import { pace, type Pace, type PaceOptions } from './pace.js';
import { shareable } from './shared.js';
import { checkSize, pieces, ZEROS } from './sizes.js';
import { loadSparse, type Sparse } from './sparse.js';

export interface FileOptions {
  readonly readOnly?: boolean;
  /** Makes a new file of this many bytes, all of them a hole; fails with EEXIST if there is one of the name. */
  readonly create?: number;
  /** When requests are made at once. */
  readonly pace?: PaceOptions;
  /** The calls for holes; `false`: none are used. Default: those that `loadSparse` finds. */
  readonly sparse?: Sparse | false;
}

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  size: number;
  /** An ordinary file, not a device. */
  readonly plain: boolean;
  readonly sparse: Sparse | undefined;
}

const SECTOR = 512;
/** Bytes that are punched in one call: if all of them are in the page cache, it takes a few milliseconds. */
const PUNCH = 64 << 20;

const fs = {
  open: promisify(openFile),
  stat: promisify(fstat),
  sync: promisify(fdatasync),
  truncate: promisify(ftruncate),
  close: promisify(closeFile),
};

/**
 * Opens a file. What the page cache can answer is answered at once (see pace.ts). Where holes are not supported, `trim`
 * is absent or does nothing, `zero` writes zeros, and everything is data.
 * @throws Error with a `code`: what `open` fails with; EINVAL for what is neither a file nor a block device
 */
export async function file(path: string, options: FileOptions = {}): Promise<BlockBackend> {
  const { readOnly = false, create } = options;
  if (create !== undefined) checkSize(create);
  const sparse = options.sparse === false ? undefined : (options.sparse ?? (await loadSparse()));
  const fd = await fs.open(path, create !== undefined ? 'wx+' : readOnly ? 'r' : 'r+');
  try {
    if (create !== undefined) await fs.truncate(fd, create);
    const stat = await fs.stat(fd);
    const opened = { fd, path, size: await sizeOf(stat, path), plain: stat.isFile(), sparse };
    const device = backendOf(opened, options);
    // What was given to change its ways is of this thread.
    if (options.sparse !== undefined || options.pace !== undefined) return device;
    const from = (): SharedFile => ({ fd, path, size: opened.size, plain: opened.plain, readOnly });
    return shareable(device, () => ({ module: import.meta.url, name: openSharedFile.name, from: from() }));
  } catch (error) {
    await fs.close(fd);
    throw error;
  }
}

type SharedFile = Omit<OpenFile, 'sparse'> & { readonly readOnly: boolean };

/** What another thread of this process has open: descriptors are of all threads. */
export async function openSharedFile({ readOnly, ...opened }: SharedFile): Promise<BlockBackend> {
  const device = backendOf({ ...opened, sparse: await loadSparse() }, { readOnly });
  return withClose(device, () => undefined);
}

/** A block device has no size of its own in its inode: sysfs says it. */
async function sizeOf(stat: Stats, path: string): Promise<number> {
  if (stat.isFile()) return stat.size;
  if (!stat.isBlockDevice()) throw failure('EINVAL', `${path}: neither a file nor a block device`);
  return Number(await readFile(`/sys/dev/block/${deviceNumbers(stat.rdev)}/size`, 'utf8')) * SECTOR;
}

/**
 * `8:1`, as the kernel's files have it, of `st_rdev`: 12 bits of the major number from bit 8 on, 8 bits of the minor
 * number at the bottom and the others from bit 20 on (gnu_dev_major in the C library).
 */
export const deviceNumbers = (rdev: number): string =>
  `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;

function backendOf(opened: OpenFile, { readOnly = false, pace: options }: FileOptions): BlockBackend {
  const { fd, path, plain, sparse } = opened;
  const reads = pace(options);
  const changes = readOnly ? undefined : changesOf(opened, pace(options));
  return {
    get size() {
      return opened.size;
    },
    read: (into, offset) => {
      checkRange(opened, offset, into.length);
      return readAt(fd, into, offset, reads, path);
    },
    ...(changes && { write: changes.write, flush: changes.flush, zero: changes.zero }),
    ...(changes && sparse && { trim: changes.trim }),
    ...(changes && plain && { resize: changes.resize }),
    extents: (offset, length) => {
      checkRange(opened, offset, length);
      return fileExtents(fd, plain ? sparse : undefined, offset, length);
    },
    close: () => fs.close(fd),
  };
}

type Changes = Required<Pick<BlockBackend, 'write' | 'flush' | 'trim' | 'zero' | 'resize'>>;

function changesOf(opened: OpenFile, writes: Pace): Changes {
  const { fd, path, sparse } = opened;
  let lost: unknown;
  return {
    write: (bytes, offset) => {
      checkRange(opened, offset, bytes.length);
      return writeAt(fd, bytes, offset, writes);
    },
    flush: async () => {
      // After an fdatasync that failed the kernel takes the pages for clean: the next one would say that all is well.
      if (lost !== undefined) throw failure('EIO', `${path}: a flush failed before, so writes may be lost`, lost);
      await fs.sync(fd).catch((error: unknown) => {
        lost = error;
        throw error;
      });
    },
    trim: (offset, length) => {
      checkRange(opened, offset, length);
      return after(allocated(sparse?.punch, fd, offset, length), () => undefined);
    },
    zero: (offset, length, { mayTrim = true, fast = false } = {}) => {
      checkRange(opened, offset, length);
      return after(allocated(mayTrim ? sparse?.punch : sparse?.zeroRange, fd, offset, length), (done) => {
        if (done) return;
        if (fast) throw failure('ENOTSUP', `${path}: zeros here are not faster than writing them`);
        return inTurn(pieces(offset, length, ZEROS.length), ([from, count]) =>
          writeAt(fd, ZEROS.subarray(0, count), from, writes),
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

/** Calls for the whole range, with a turn of the event loop between the pieces. @returns false if there is no such call */
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
