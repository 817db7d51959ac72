/** Files as a stream of entries: the common form for all archive and filesystem formats. */

export interface Entry {
  /** Relative to the root, with `/` between parts, without a leading `/`, and without `.` or `..` parts. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo';
  /** Permission bits, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Bytes; 0 for anything but a file. */
  readonly size: number;
  /** The target of a symbolic link. */
  readonly link?: string;
  /** The major and minor number of a device. */
  readonly rdev?: readonly [major: number, minor: number];
  /** The content from the start. */
  open?(): AsyncIterable<Uint8Array>;
  /**
   * The file that holds the whole content, in its state when the entry was made. A consumer that can read parts of
   * files need not call `open`.
   */
  readonly host?: HostFile;
}

/** A file of this machine. */
export interface HostFile {
  readonly file: string;
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
  owner: { uid: number; gid: number } = { uid: 0, gid: 0 },
): Entry => ({
  ...DEFAULTS,
  ...owner,
  path,
  type: 'directory',
  mode,
});

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
    open: async function* () {
      yield bytes;
    },
  };
}

/** Concatenates trees. */
export async function* concat(...trees: readonly (Tree | Iterable<Entry>)[]): Tree {
  for (const tree of trees) yield* tree;
}
