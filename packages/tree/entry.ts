/** Files as a stream of entries: what every archive and filesystem format is written from and read into. */

export interface Entry {
  /** Relative to the root, `/` between parts, no leading `/`, no `.` or `..` parts. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo';
  /** Permission bits, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Bytes; 0 for what is not a file. */
  readonly size: number;
  /** The target of a symbolic link. */
  readonly link?: string;
  /** Of a device: major and minor number. */
  readonly rdev?: readonly [major: number, minor: number];
  /** The content, from the start. */
  open?(): AsyncIterable<Uint8Array>;
  /** Where the content lies, whole, as it was when the entry was made; who can read a part of it need not `open`. */
  readonly host?: HostFile;
}

/** A file of this machine. */
export interface HostFile {
  readonly file: string;
  /** `mtimeMs` of stat: a file with another one has another content. */
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

/** One tree after the other. */
export async function* concat(...trees: readonly (Tree | Iterable<Entry>)[]): Tree {
  for (const tree of trees) yield* tree;
}
