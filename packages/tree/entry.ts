/** Files as a stream of entries: the common form for all archive and filesystem formats. */

export interface Entry {
  /**
   * Relative to the root, with `/` between parts, without a leading `/`, and without `.` or `..` parts. Bytes that are no
   * UTF-8 are as `pathOf` makes them.
   */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo';
  /** Permission bits, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since 1970; negative before. */
  readonly mtime: number;
  /** 0 to 999,999,999, after `mtime`. Default 0. */
  readonly nanoseconds?: number;
  /** Bytes; 0 for anything but a file. */
  readonly size: number;
  /** The target of a symbolic link, written as `path` is. */
  readonly link?: string;
  /** The major and minor number of a device. */
  readonly rdev?: readonly [major: number, minor: number];
  /**
   * The path of an earlier entry that is the same file. All other fields are those of that entry, so a consumer that
   * ignores this one makes a copy.
   */
  readonly hardLink?: string;
  /** Extended attributes by their full names, such as `user.mime_type` and `security.capability`. */
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
  /**
   * The content from a byte on. It can be opened any number of times.
   * @param offset bytes, 0 to `size`. Default 0
   */
  open?(offset?: number): AsyncIterable<Uint8Array>;
  /**
   * The file that holds the whole content, in its state when the entry was made. A consumer that can read parts of
   * files need not call `open`.
   */
  readonly host?: HostFile | undefined;
}

/** A file of this machine, or a part of it. */
export interface HostFile {
  readonly file: string;
  /** Where the content starts in the file, in bytes. Default 0. */
  readonly offset?: number;
  /** Bytes of the whole file. Default: those of the content. */
  readonly size?: number;
  /** `mtimeMs` of stat. A file with another value has changed. */
  readonly mtime: number;
}

export type Tree = AsyncIterable<Entry>;

/** `S_IFMT`, inode(7). */
const TYPES: Readonly<Record<Entry['type'], number>> = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  'character-device': 0o020000,
  'block-device': 0o060000,
  fifo: 0o010000,
};

/** `st_mode`: the type and the permissions. */
export const modeOf = (entry: Entry): number => TYPES[entry.type] | entry.mode;

/** The type in a `st_mode`; undefined for a socket and for what does not exist. */
export const typeOf = (mode: number): Entry['type'] | undefined =>
  (Object.keys(TYPES) as Entry['type'][]).find((type) => TYPES[type] === (mode & 0o170000));

const DEFAULTS = { uid: 0, gid: 0, mtime: 0, size: 0 };

export const directory = (
  path: string,
  mode = 0o755,
  { uid, gid }: { uid: number; gid: number } = DEFAULTS,
): Entry => ({ path, type: 'directory', mode, uid, gid, mtime: 0, size: 0 });

export const symlink = (path: string, link: string): Entry => ({
  ...DEFAULTS,
  path,
  type: 'symlink',
  mode: 0o777,
  link,
});

export const characterDevice = (path: string, mode: number, rdev: readonly [number, number]): Entry => ({
  ...DEFAULTS,
  path,
  type: 'character-device',
  mode,
  rdev,
});

export function file(path: string, content: string | Uint8Array, mode = 0o644): Entry {
  const bytes = Buffer.from(content);
  return {
    ...DEFAULTS,
    path,
    type: 'file',
    mode,
    size: bytes.length,
    // eslint-disable-next-line @typescript-eslint/require-await -- an async generator is what the interface wants
    open: async function* (offset = 0) {
      if (offset < bytes.length) yield bytes.subarray(offset);
    },
  };
}

/** Concatenates trees. */
export async function* concat(...trees: readonly (Tree | Iterable<Entry>)[]): Tree {
  for (const tree of trees) yield* tree;
}
