/** A mounted filesystem: `promises`, the same with callbacks, streams, and what `node:fs` has no names for. */
import { constants, ReadStream, WriteStream, type PathLike } from 'node:fs';
import type { Readable } from 'node:stream';
import { tarStream, type Entry, type Tree } from '@nodeos/tree';
import { callbacksOf, type Callbacks } from './callbacks.js';
import { FsPromises } from './promises.js';
import { fromTree, toTree, type FromTreeOptions, type ToTreeOptions } from './trees.js';
import { resize, trim } from './ioctls.js';
import { fsError } from './errors.js';
import type { Target, Volume } from './volume.js';

const EROFS = 30;
/** Types that Linux only reads. */
const NEVER_WRITTEN: readonly string[] = ['squashfs', 'erofs', 'iso9660'];
/** Of mount(2). */
const [MS_RDONLY, MS_NOATIME] = [1, 1024];

/** @returns whether a mount of that type is read-only, and its flags for mount(2) */
export function mountFlags(type: string, wanted: boolean): { isReadOnly: boolean; flags: number } {
  const isReadOnly = wanted || NEVER_WRITTEN.includes(type);
  return { isReadOnly, flags: MS_NOATIME | (isReadOnly ? MS_RDONLY : 0) };
}

export interface RemountOptions {
  readonly readOnly: boolean;
  /** Options of the filesystem's driver, as in fstab(5). Others stay as they are. */
  readonly options?: string;
}

/** What a filesystem knows of its mount. */
export interface MountFacts {
  readonly type: string;
  readonly isReadOnly: boolean;
  /** Bytes of its device. */
  readonly size: number;
  /** What is done after unmounting. */
  readonly release: () => Promise<void>;
}

export class MountedFilesystem {
  readonly promises: FsPromises;
  /** An object of the shape of `node:fs`, for libraries that take one. It has no `…Sync`. */
  readonly fs: Callbacks & Pick<MountedFilesystem, 'promises' | 'createReadStream' | 'createWriteStream'>;
  /** Such as `ext4`. */
  readonly type: string;
  readonly #facts: MountFacts;
  #isReadOnly: boolean;
  #unmounting: Promise<void> | undefined;

  constructor(
    /** The operations below those of `node:fs`: xattrs, fallocate, mknod, seek, ioctl, sync. */
    readonly volume: Volume,
    facts: MountFacts,
  ) {
    this.#facts = facts;
    this.#isReadOnly = facts.isReadOnly;
    this.type = facts.type;
    this.promises = new FsPromises(volume, this);
    this.fs = Object.assign(callbacksOf(volume, this.promises), {
      promises: this.promises,
      constants,
      createReadStream: this.createReadStream,
      createWriteStream: this.createWriteStream,
    });
  }

  createReadStream = (path: PathLike, options: object | BufferEncoding = {}): ReadStream => {
    const given = typeof options === 'string' ? { encoding: options } : options;
    const Make = ReadStream as unknown as new (path: PathLike, options: object) => ReadStream;
    return new Make(path, { ...given, fs: this.fs });
  };

  createWriteStream = (path: PathLike, options: object | BufferEncoding = {}): WriteStream => {
    const given = typeof options === 'string' ? { encoding: options } : options;
    const Make = WriteStream as unknown as new (path: PathLike, options: object) => WriteStream;
    return new Make(path, { ...given, fs: this.fs });
  };

  opendir = (path: PathLike, options: { recursive?: boolean } = {}): ReturnType<FsPromises['opendir']> =>
    this.promises.opendir(path, options);

  getxattr = (target: Target, name: string): Promise<Buffer> => this.volume.getxattr(target, name);
  setxattr = (target: Target, name: string, value: Uint8Array): Promise<void> =>
    this.volume.setxattr(target, name, value);
  listxattr = (target: Target): Promise<string[]> => this.volume.listxattr(target);
  removexattr = (target: Target, name: string): Promise<void> => this.volume.removexattr(target, name);

  /**
   * The files below a path, in the order of their names. @param path default: the root
   * @throws FsError of reading; the signal's reason
   */
  toTree = (path?: string, options?: ToTreeOptions): Tree => toTree(this, path, options);

  /** Writes files, each replaced in one step. @throws FsError of writing; RangeError for what is no tree; the signal's reason */
  fromTree = (tree: Tree | Iterable<Entry>, options?: FromTreeOptions): Promise<void> => fromTree(this, tree, options);

  /** The files below a path as an archive, which is the same for the same files. @param path default: the root */
  tar = (path?: string, options?: ToTreeOptions): Readable => tarStream(this.toTree(path, options));

  /** Makes everything durable. */
  sync(): Promise<void> {
    return this.volume.sync();
  }

  /** Tells the device which blocks are unused. @returns their bytes */
  trim(): Promise<number> {
    return trim(this.volume);
  }

  get isReadOnly(): boolean {
    return this.#isReadOnly;
  }

  /**
   * Makes the filesystem read-only or writable, or changes options, while it is mounted.
   * @throws FsError: EBUSY if a file is open for writing that would become read-only, EROFS or EACCES if the type or the
   * disk is only read, EINVAL for options that the driver does not know
   */
  async remount({ readOnly, options = '' }: RemountOptions): Promise<void> {
    const { isReadOnly, flags } = mountFlags(this.type, readOnly);
    if (isReadOnly && !readOnly) throw fsError(EROFS, 'remount');
    if (readOnly && !this.#isReadOnly) await this.volume.sync();
    await this.volume.remount(flags, options);
    this.#isReadOnly = isReadOnly;
  }

  /**
   * Makes the filesystem larger while it is mounted (ext4 and its elders, xfs, btrfs), or smaller (btrfs).
   * @param bytes of its device. Default: all of it
   * @throws FsError: ENOTSUP for other types; what the driver says of a size that it cannot have
   */
  resize(bytes: number = this.#facts.size): Promise<void> {
    return resize(this.volume, this.type, bytes);
  }

  /**
   * Closes all files, writes everything, and unmounts. Doing it twice is allowed.
   * @throws FsError with the code EBUSY if requests are still at work; the filesystem stays mounted then
   */
  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount().catch((error: unknown) => {
      this.#unmounting = undefined;
      throw error;
    });
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    if (!this.#isReadOnly) await this.volume.sync();
    await this.volume.call({ op: 'UNMOUNT' }, 'umount');
    this.volume.markUnmounted();
    await this.#facts.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount();
  }
}
