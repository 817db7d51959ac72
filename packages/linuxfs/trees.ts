/** Files of a mounted filesystem as entries of packages/tree, and entries as files. */
import { posix } from 'node:path';
import { isZero } from '@nodeos/block';
import { compareNames, entryPath, modeOf, pathBytes, pathOf, typeOf, type Entry, type Tree } from '@nodeos/tree';
import type { FsError } from './errors.js';
import type { Folders } from './folders.js';
import { O, SLOT_SIZE, type RawStat } from './protocol.js';
import { identityOf, isFolder } from './stats.js';
import type { Volume } from './volume.js';

/** Types without owners, modes and extended attributes. */
const PLAIN: readonly string[] = ['vfat', 'exfat'];

export interface ToTreeOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface FromTreeOptions {
  /** The folder that the entries are relative to; it is made if it is not there. Default: the root. */
  readonly path?: string;
  /** Stops after the file that is being written, which is removed. */
  readonly signal?: AbortSignal | undefined;
  /** Is called before each entry. */
  readonly onEntry?: (entry: Entry) => void;
  /** Is called with the bytes of each piece of a content. */
  readonly onBytes?: (bytes: number) => void;
  /** Is given what this filesystem cannot hold, such as links on FAT. Default: the error is thrown. */
  readonly onRefused?: (entry: Entry, error: Error) => void;
}

/** What the two directions need of a mounted filesystem. */
export interface Place {
  readonly volume: Volume;
  readonly promises: Folders;
  readonly type: string;
}

/**
 * The files below a path in the order of their names, the folder itself as the entry `''`; of any other file, only that
 * with its name. Sockets are left out.
 * @param path its last part may be a symbolic link, which is not followed
 * @throws FsError of reading; the signal's reason
 */
export async function* toTree(place: Place, path = '/', { signal }: ToTreeOptions = {}): Tree {
  const root = pathBytes(path);
  const raw = await place.volume.stat({ path: root, isLink: true }, 'lstat');
  const reader = new TreeReader(place);
  if (!isFolder(raw)) {
    yield* reader.entry(root, posix.basename(path), raw);
    return;
  }
  const stack: Found[] = [{ full: root, path: '', raw }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    signal?.throwIfAborted();
    yield* reader.entry(next.full, next.path, next.raw);
    if (isFolder(next.raw)) stack.push(...(await reader.children(next)));
  }
}

interface Found {
  /** Within the filesystem. */
  readonly full: Buffer;
  /** Within the tree. */
  readonly path: string;
  readonly raw: RawStat;
}

class TreeReader {
  /** Paths of files with several names, by what they are. */
  readonly #linked = new Map<string, string>();
  #hasXattrs: boolean;

  constructor(private readonly place: Place) {
    this.#hasXattrs = !PLAIN.includes(place.type);
  }

  /** The files in a folder, the last one first. */
  async children({ full, path }: Found): Promise<Found[]> {
    const start = full.at(-1) === SLASH ? full : Buffer.concat([full, Buffer.of(SLASH)]);
    const found: Found[] = [];
    for (const { name, stat } of await this.place.promises.entries(full, true)) {
      const child = Buffer.concat([start, name]);
      const raw = stat ?? (await this.place.volume.stat({ path: child, isLink: true }, 'lstat'));
      found.push({ full: child, path: path === '' ? pathOf(name) : `${path}/${pathOf(name)}`, raw });
    }
    return found.sort((a, b) => compareNames(b.path, a.path));
  }

  /** None for a socket. */
  async *entry(full: Buffer, path: string, raw: RawStat): Tree {
    const type = typeOf(raw.mode);
    if (type === undefined) return;
    const { volume } = this.place;
    const isShared = raw.links > 1 && type !== 'directory';
    const key = isShared ? identityOf(raw) : '';
    const hardLink = this.#linked.get(key);
    if (isShared && hardLink === undefined) this.#linked.set(key, path);
    const xattrs = await this.#xattrs(full);
    const size = type === 'file' ? Number(raw.size) : 0;
    yield {
      path,
      type,
      mode: raw.mode & 0o7777,
      uid: raw.uid,
      gid: raw.gid,
      mtime: Number(raw.modification.seconds),
      nanoseconds: raw.modification.nanoseconds,
      size,
      ...(type === 'symlink' ? { link: pathOf(await volume.readlink(full)) } : {}),
      ...(type.endsWith('device') ? { rdev: raw.special } : {}),
      ...(hardLink === undefined ? {} : { hardLink }),
      ...(xattrs.size > 0 ? { xattrs } : {}),
      ...(type === 'file' ? { open: (offset = 0) => contentOf(volume, full, offset, size) } : {}),
    };
  }

  async #xattrs(full: Buffer): Promise<Map<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    if (!this.#hasXattrs) return found;
    const target = { path: full, isLink: true };
    try {
      for (const name of (await this.place.volume.listxattr(target)).sort())
        found.set(name, await this.place.volume.getxattr(target, name));
    } catch (error) {
      if (!UNSUPPORTED.includes((error as FsError).code)) throw error;
      this.#hasXattrs = false; // this driver has none
    }
    return found;
  }
}

const SLASH = 0x2f;
const UNSUPPORTED: readonly string[] = ['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'];

async function* contentOf(volume: Volume, path: Buffer, offset: number, size: number): AsyncGenerator<Buffer> {
  const fd = await volume.open(path, O.RDONLY | O.NOFOLLOW, 0);
  try {
    for (let at = offset; at < size;) {
      const bytes = Buffer.allocUnsafe(Math.min(SLOT_SIZE, size - at));
      const count = await volume.read(fd, bytes, at);
      if (count === 0) return; // it became shorter
      yield bytes.subarray(0, count);
      at += count;
    }
  } finally {
    await volume.close(fd);
  }
}

/**
 * Writes entries. What is there is replaced, each file in one step, and folders are merged. Owners, modes, times and
 * extended attributes are those of the entries; vfat and exfat keep times only. Nothing is durable before `sync`.
 * @throws FsError of writing; RangeError for a path that is none of a tree, or for a content of another size than the
 * entry says; the signal's reason
 */
export async function fromTree(
  place: Place,
  tree: Tree | Iterable<Entry>,
  options: FromTreeOptions = {},
): Promise<void> {
  const writer = new TreeWriter(place, options);
  await writer.makeRoot();
  for await (const entry of tree) {
    options.signal?.throwIfAborted();
    options.onEntry?.(entry);
    await writer.write(entry);
  }
  await writer.finish();
}

class TreeWriter {
  readonly #volume: Volume;
  readonly #root: string;
  readonly #isPlain: boolean;
  /** They get their attributes last: what is put into them would change their times, and may not be allowed. */
  readonly #folders: { readonly path: Buffer; readonly entry: Entry }[] = [];

  constructor(
    private readonly place: Place,
    private readonly options: FromTreeOptions,
  ) {
    this.#volume = place.volume;
    this.#root = options.path ?? '/';
    this.#isPlain = PLAIN.includes(place.type);
  }

  async makeRoot(): Promise<void> {
    await this.place.promises.mkdir(this.#root, { recursive: true });
  }

  async write(entry: Entry): Promise<void> {
    if (entry.path !== '') entryPath(entry.path);
    const path = this.#full(entry.path);
    try {
      if (entry.type === 'directory') await this.#folder(path, entry);
      else if (entry.hardLink === undefined || !(await this.#hardLink(path, entry.hardLink, entry.open !== undefined)))
        await this.#replace(path, (at) => this.#make(at, entry));
    } catch (error) {
      const isOrdinary = entry.type === 'directory' || (entry.type === 'file' && entry.hardLink === undefined);
      if (!this.options.onRefused || isOrdinary || !isRefusal(error)) throw error;
      this.options.onRefused(entry, error as Error);
    }
  }

  async finish(): Promise<void> {
    for (const { path, entry } of this.#folders.reverse()) await this.#describe(path, entry);
  }

  #full(path: string): Buffer {
    return pathBytes(posix.join(this.#root, path));
  }

  async #folder(path: Buffer, entry: Entry): Promise<void> {
    this.#folders.push({ path, entry });
    await this.#inParents(path, () => this.#volume.mkdir(path, 0o700)).catch(async (error: unknown) => {
      if (!isCode(error, 'EEXIST') || !isFolder(await this.#volume.stat({ path }))) throw error;
    });
  }

  /** @returns false if this filesystem has none, and a copy will do */
  async #hardLink(path: Buffer, to: string, canBeCopied: boolean): Promise<boolean> {
    const link = (): Promise<void> => this.#volume.link(this.#full(to), path);
    try {
      await this.#inParents(path, link).catch(async (error: unknown) => {
        if (!isCode(error, 'EEXIST')) throw error;
        await this.#volume.unlink(path);
        await link();
      });
      return true;
    } catch (error) {
      if (canBeCopied && isRefusal(error)) return false;
      throw error;
    }
  }

  /** Whoever reads meanwhile sees the old file or the new one, whole. */
  async #replace(path: Buffer, make: (path: Buffer) => Promise<void>): Promise<void> {
    await this.#inParents(path, () => make(path)).catch(async (error: unknown) => {
      if (!isCode(error, 'EEXIST')) throw error;
      const temporary = Buffer.concat([path.subarray(0, path.lastIndexOf(SLASH) + 1), temporaryName()]);
      await make(temporary);
      await this.#volume.rename(temporary, path).catch(async (failed: unknown) => {
        await this.#volume.unlink(temporary);
        throw failed;
      });
    });
  }

  /** Trees may leave folders out. */
  async #inParents(path: Buffer, make: () => Promise<void>): Promise<void> {
    await make().catch(async (error: unknown) => {
      if (!isCode(error, 'ENOENT')) throw error;
      await this.place.promises.mkdir(path.subarray(0, Math.max(1, path.lastIndexOf(SLASH))), { recursive: true });
      await make();
    });
  }

  /** @throws FsError with the code EEXIST if something is there */
  async #make(path: Buffer, entry: Entry): Promise<void> {
    if (entry.type === 'symlink') await this.#volume.symlink(pathBytes(entry.link ?? ''), path);
    else if (entry.type === 'file') await this.#file(path, entry);
    else await this.#volume.mknod(path, modeOf(entry), entry.rdev);
    await this.#describe(path, entry).catch(async (error: unknown) => {
      await this.#volume.unlink(path);
      throw error;
    });
  }

  async #file(path: Buffer, entry: Entry): Promise<void> {
    const flags = O.WRONLY | O.CREAT | O.EXCL;
    if (entry.size <= SLOT_SIZE) {
      const content = await this.#whole(entry);
      return this.#volume.writeWhole(path, content, { flags, mode: 0o600, flush: false });
    }
    const fd = await this.#volume.open(path, flags, 0o600);
    try {
      await this.#content(fd, entry);
    } catch (error) {
      await this.#volume.unlink(path);
      throw error;
    } finally {
      await this.#volume.close(fd);
    }
  }

  async #whole(entry: Entry): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.#pieces(entry)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Zeros become holes. */
  async #content(fd: number, entry: Entry): Promise<void> {
    let at = 0;
    for await (const piece of this.#pieces(entry)) {
      for (let done = 0; done < piece.length && !isZero(piece);)
        done += await this.#volume.write(fd, piece.subarray(done), at + done);
      at += piece.length;
    }
    await this.#volume.truncate({ fd }, entry.size);
  }

  async *#pieces(entry: Entry): AsyncGenerator<Uint8Array> {
    let size = 0;
    for await (const piece of entry.open?.() ?? []) {
      this.options.signal?.throwIfAborted();
      size += piece.length;
      if (size > entry.size) break;
      this.options.onBytes?.(piece.length);
      yield piece;
    }
    if (size !== entry.size)
      throw new RangeError(`${entry.path}: its content has not the ${entry.size} bytes it should`);
  }

  /** The mode after the owner: a change of the owner takes set-id bits. The times last. */
  async #describe(path: Buffer, entry: Entry): Promise<void> {
    const target = { path, isLink: true };
    if (!this.#isPlain) {
      await this.#volume.chown(target, entry.uid, entry.gid);
      if (entry.type !== 'symlink') await this.#volume.chmod({ path }, entry.mode);
      for (const [name, value] of entry.xattrs ?? []) await this.#volume.setxattr(target, name, value);
    }
    const time = { seconds: BigInt(entry.mtime), nanoseconds: entry.nanoseconds ?? 0 };
    await this.#volume.utimes(target, time, time);
  }
}

/** Whether a filesystem has no place for something. */
const isRefusal = (error: unknown): boolean => ['EPERM', ...UNSUPPORTED].includes((error as FsError).code);

const isCode = (error: unknown, code: string): boolean => (error as FsError).code === code;

const temporaryName = (): Buffer => Buffer.from(`.nodeos-${Math.random().toString(36).slice(2, 10)}`);
