/** Files that are opened on first read. Only a limited number stays open. */
import { closeSync, fstatSync, open, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { failure, type MaybePromise } from './backend.js';
import { readAt } from './descriptor.js';
import { after, observed } from './maybe.js';
import { pace as newPace, type PaceOptions } from './pace.js';

const openLater = promisify(open);

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
  close(): void;
}

interface Open {
  readonly fd: number;
  /** Requests under way. The file is not closed before they are done. */
  users: number;
  unwanted: boolean;
}

/** @param most files to keep open; requests under way may need more */
export function openFiles(most: number, options?: PaceOptions): OpenFiles {
  const pace = newPace(options);
  /** In order of use, the most recent last. */
  const open = new Map<string, Open>();
  const seen = new Map<string, { size: number; mtime: number }>();

  /** Returns the file with one more user, so that it stays open. */
  function opened(expected: ExpectedFile): MaybePromise<Open> {
    const { file } = expected;
    const known = open.get(file);
    if (known !== undefined) {
      open.delete(file);
      open.set(file, known);
      known.users++;
      return known;
    }
    const begun = pace.begin(0);
    if (begun < 0) return openLater(file, 'r').then((fd) => keep(expected, fd));
    const fd = openSync(file, 'r');
    pace.end(begun, 0);
    return keep(expected, fd);
  }

  function keep(expected: ExpectedFile, fd: number): Open {
    try {
      check(expected, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    const entry = { fd, users: 1, unwanted: false };
    drop(expected.file); // another request may have opened it in the meantime
    open.set(expected.file, entry);
    for (const oldest of open.keys()) {
      if (open.size <= most) break;
      drop(oldest);
    }
    return entry;
  }

  function check({ file, size, mtime }: ExpectedFile, fd: number): void {
    const { size: isSize, mtimeMs: isMtime } = fstatSync(fd);
    const before = seen.get(file) ?? { size: size ?? isSize, mtime: mtime ?? isMtime };
    if (before.size !== isSize || before.mtime !== isMtime) {
      const [was, is] = [asText(before.size, before.mtime), asText(isSize, isMtime)];
      throw failure('EIO', `${file}: changed since it was described: ${was}, now ${is}`);
    }
    seen.set(file, before);
  }

  function drop(file: string): void {
    const entry = open.get(file);
    if (entry === undefined) return;
    open.delete(file);
    entry.unwanted = true;
    if (entry.users === 0) closeSync(entry.fd);
  }

  return {
    read: (expected, into, position) =>
      after(opened(expected), (entry) =>
        observed(
          () => readAt(entry.fd, into, position, pace, expected.file),
          () => {
            if (--entry.users === 0 && entry.unwanted) closeSync(entry.fd);
          },
        ),
      ),
    close: () => [...open.keys()].forEach(drop),
  };
}

const asText = (size: number, mtime: number): string => `${size} bytes of ${new Date(mtime).toISOString()}`;
