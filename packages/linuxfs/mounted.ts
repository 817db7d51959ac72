/** A mounted filesystem: `promises`, the same with callbacks, streams, and what `node:fs` has no names for. */
import { constants, ReadStream, WriteStream, type PathLike } from 'node:fs';
import type { Readable } from 'node:stream';
import { tarStream, type Entry, type Tree } from '@nodeos/tree';
import { callbacksOf, type Callbacks } from './callbacks.js';
import { FsPromises } from './promises.js';
import { fromTree, toTree, type FromTreeOptions, type ToTreeOptions } from './trees.js';
import type { Target, Volume } from './volume.js';

export class MountedFilesystem {
  readonly promises: FsPromises;
  /** An object of the shape of `node:fs`, for libraries that take one. It has no `…Sync`. */
  readonly fs: Callbacks & Pick<MountedFilesystem, 'promises' | 'createReadStream' | 'createWriteStream'>;
  readonly #release: () => Promise<void>;
  #unmounting: Promise<void> | undefined;

  /**
   * @param type of the filesystem
   * @param release what is done after unmounting
   */
  constructor(
    /** The operations below those of `node:fs`: xattrs, fallocate, mknod, seek, trim, sync. */
    readonly volume: Volume,
    readonly type: string,
    release: () => Promise<void>,
  ) {
    this.#release = release;
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
    return this.volume.trim();
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
    if (!this.volume.isReadOnly) await this.volume.sync();
    await this.volume.call({ op: 'UNMOUNT' }, 'umount');
    this.volume.markUnmounted();
    await this.#release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount();
  }
}
