/** Files that are opened on first read. Only a limited number stays open. */
import { closeSync, fstatSync, open, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { failure, type Extent, type MaybePromise } from './backend.js';
import { readAt } from './descriptor.js';
import { fileExtents } from './file-extents.js';
import { chain, whenSettled } from './maybe.js';
import { pace as newPace, type PaceOptions } from './pace.js';
import { loadSparse } from './sparse.js';

const openAsync = promisify(open);

/** A file in the state in which it was described. */
export interface ExpectedFile {
  readonly file: string;
  /** Bytes. Default: the size when the file is first opened. */
  readonly size?: number;
  /** Milliseconds since 1970, as `mtimeMs` of `stat`. Default: the value when the file is first opened. */
  readonly mtime?: number;
}

export interface OpenFiles {
  /**
   * Fills `into` from `position` on.
   * @throws Error with the code EIO if the file is not the expected one; the errors of `open` and `read`
   */
  read(expected: ExpectedFile, into: Uint8Array, position: number): MaybePromise<void>;
  /** The extents of a part of the file. @throws as `read` does */
  extents(expected: ExpectedFile, position: number, length: number): MaybePromise<readonly Extent[]>;
  close(): void;
}

interface Open {
  readonly fd: number;
  /** Requests under way. The file is not closed before they are done. */
  users: number;
  isEvicted: boolean;
}

/** @param limit files to keep open; requests under way may need more */
export function openFiles(limit: number, options?: PaceOptions): OpenFiles {
  const pace = newPace(options);
  /** In order of use, the most recent last. */
  const open = new Map<string, Open>();
  /** Of files that are not described in full, when they were first opened. */
  const firstStats = new Map<string, { size: number; mtime: number }>();

  /** Returns the file with one more user, so that it stays open. */
  function acquire(expected: ExpectedFile): MaybePromise<Open> {
    const { file } = expected;
    const known = open.get(file);
    if (known !== undefined) {
      open.delete(file);
      open.set(file, known);
      known.users++;
      return known;
    }
    const started = pace.begin(0);
    if (started < 0) return openAsync(file, 'r').then((fd) => register(expected, fd));
    const fd = openSync(file, 'r');
    pace.end(started, 0);
    return register(expected, fd);
  }

  function register(expected: ExpectedFile, fd: number): Open {
    try {
      check(expected, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    const entry = { fd, users: 1, isEvicted: false };
    evict(expected.file); // another request may have opened it in the meantime
    open.set(expected.file, entry);
    for (const oldest of open.keys()) {
      if (open.size <= limit) break;
      evict(oldest);
    }
    return entry;
  }

  function check({ file, size, mtime }: ExpectedFile, fd: number): void {
    const { size: actualSize, mtimeMs: actualMtime } = fstatSync(fd);
    const first = firstStats.get(file);
    const [expectedSize, expectedMtime] = [size ?? first?.size ?? actualSize, mtime ?? first?.mtime ?? actualMtime];
    if (expectedSize !== actualSize || expectedMtime !== actualMtime) {
      const [previous, current] = [describeStats(expectedSize, expectedMtime), describeStats(actualSize, actualMtime)];
      throw failure('EIO', `${file}: changed since it was described: ${previous}, now ${current}`);
    }
    // There may be very many files, and those that are described in full are known already.
    if (size === undefined || mtime === undefined) firstStats.set(file, { size: actualSize, mtime: actualMtime });
  }

  function evict(file: string): void {
    const entry = open.get(file);
    if (entry === undefined) return;
    open.delete(file);
    entry.isEvicted = true;
    if (entry.users === 0) closeSync(entry.fd);
  }

  const using = <T>(expected: ExpectedFile, work: (fd: number) => MaybePromise<T>): MaybePromise<T> =>
    chain(acquire(expected), (entry) =>
      whenSettled(
        () => work(entry.fd),
        () => {
          if (--entry.users === 0 && entry.isEvicted) closeSync(entry.fd);
        },
      ),
    );

  return {
    read: (expected, into, position) => using(expected, (fd) => readAt(fd, into, position, pace, expected.file)),
    extents: (expected, position, length) =>
      using(expected, async (fd) => fileExtents(fd, await loadSparse(), position, length)),
    close: () => [...open.keys()].forEach(evict),
  };
}

const describeStats = (size: number, mtime: number): string => `${size} bytes of ${new Date(mtime).toISOString()}`;
