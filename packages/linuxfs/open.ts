/** Disks and the filesystems on them. */
import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  file,
  flushEarly,
  http,
  lockFile,
  overlay,
  partition,
  partitions,
  readOnly,
  temporaryOverlay,
  withClose,
  type BlockBackend,
} from '@nodeos/block';
import { findKernel } from './binary.js';
import { Kernel } from './kernel.js';
import { probe, TYPES, type Probed } from './probe.js';
import { MountedFilesystem, mountFlags } from './mounted.js';
import { Volume } from './volume.js';

export interface OpenOptions {
  /** Nothing is written to the disk, not even a journal. Default false. */
  readonly readOnly?: boolean;
  /**
   * The disk is only read, and changes go elsewhere: into the file of that name, which is made and is continued later
   * (`overlay` of packages/block), or with `true` into a temporary one that is gone with this process.
   */
  readonly fork?: string | true;
  /**
   * Ends the kernel when it is aborted, which for the disk is a power cut: what waits rejects with EIO and the signal's
   * reason as the cause. Single calls take signals of their own.
   */
  readonly signal?: AbortSignal;
  /** Bytes of memory for the kernel's caches, at least 64 MiB, under QEMU at most 2 GiB. Default 128 MiB. */
  readonly memory?: number;
  /** The kernel's file, or `qemu` for that of the package for QEMU. Default: that of the package for this platform. */
  readonly kernel?: string;
  /** Is given each line that the kernel logs. */
  readonly log?: (line: string) => void;
  /**
   * Seconds that a request may take while no disk is waited for. Then the kernel counts as hung, and is killed. At least 1;
   * default 60.
   */
  readonly patience?: number;
}

export interface MountOptions {
  /** A partition by its number, from 1 on. Without one of these three, the whole disk is the filesystem. */
  readonly partition?: number;
  /** A filesystem by its label. */
  readonly label?: string;
  /** A filesystem by its UUID. */
  readonly uuid?: string;
  /** The filesystem's type, such as `ext4`. Default: what its superblock says. */
  readonly filesystem?: string;
  /** Default: that of the disk. */
  readonly readOnly?: boolean;
  /** Options of the filesystem's driver, as in fstab(5). */
  readonly options?: string;
  /** The owner of new files. Default 0. */
  readonly uid?: number;
  readonly gid?: number;
  /** Bits that new files do not get. Default 0o022. */
  readonly umask?: number;
}

/** A disk with its kernel. Filesystems on it are mounted one by one. */
export class Disk {
  readonly #mounted = new Set<MountedFilesystem>();
  #isClosed = false;

  /** @param backend is closed with the disk */
  constructor(
    readonly backend: BlockBackend,
    private readonly kernel: Kernel,
    private readonly isReadOnly: boolean,
  ) {}

  /** The process of the kernel. */
  get pid(): number | undefined {
    return this.kernel.pid;
  }

  /**
   * Mounts a filesystem.
   * @throws Error with the code ENOENT if there is no such partition or label, EINVAL if no known filesystem is there or
   * if the driver refuses it, EROFS if its journal must be replayed and the disk is read-only
   */
  async mount(options: MountOptions = {}): Promise<MountedFilesystem> {
    const device = await this.#find(options);
    const type = options.filesystem ?? (await probe(device))?.type;
    if (type === undefined || !TYPES.includes(type)) {
      const what = type === undefined ? 'no known filesystem is there' : `there is no filesystem ${type}`;
      throw Object.assign(new Error(`${what}; known are ${TYPES.join(', ')}`), { code: 'EINVAL' });
    }
    const { isReadOnly, flags } = mountFlags(type, options.readOnly ?? this.isReadOnly);
    const disk = await this.kernel.attach(device, this.isReadOnly);
    const mount = this.kernel.takeMount();
    const { uid = 0, gid = 0, umask = 0o022, options: text = '' } = options;
    const reply = await this.kernel.call({
      op: 'MOUNT',
      mount,
      value: disk,
      name: Buffer.from(type),
      other: Buffer.from(text),
      flags,
      uid,
      gid,
      mode: umask,
    });
    if (typeof reply === 'number') {
      this.kernel.freeMount(mount);
      await this.kernel.detach(disk);
      throw this.kernel.error(reply, `mount of ${type}`);
    }
    const release = async (): Promise<void> => {
      this.#mounted.delete(mounted);
      this.kernel.freeMount(mount);
      await this.kernel.detach(disk);
    };
    const facts = { type, isReadOnly, size: device.size, release };
    const mounted = new MountedFilesystem(new Volume(this.kernel, mount), facts);
    this.#mounted.add(mounted);
    return mounted;
  }

  /** The filesystems that a mount would find, each with its partition; the whole disk has none. */
  async filesystems(): Promise<(Probed & { readonly partition?: number })[]> {
    const whole = await probe(this.backend);
    if (whole) return [whole];
    const found = [];
    for (const { number } of await partitions(this.backend)) {
      const probed = await probe(await partition(this.backend, number));
      if (probed) found.push({ ...probed, partition: number });
    }
    return found;
  }

  /** Unmounts everything, makes it durable, and ends the kernel. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      for (const mounted of [...this.#mounted]) await mounted.unmount();
    } finally {
      await this.kernel.close();
      await this.backend.close();
    }
  }

  /** Kills the kernel: for the disk it is a power cut. */
  kill(): void {
    this.kernel.kill();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #find({ partition: number, label, uuid }: MountOptions): Promise<BlockBackend> {
    const device =
      number !== undefined
        ? await partition(this.backend, number)
        : label === undefined && uuid === undefined
          ? this.backend
          : await this.#named(label, uuid?.toLowerCase());
    return withClose(device, () => undefined); // the disk closes it
  }

  async #named(label: string | undefined, uuid: string | undefined): Promise<BlockBackend> {
    const all = await this.filesystems();
    const found = all.find((one) => (label === undefined || one.label === label) && (!uuid || one.uuid === uuid));
    if (found) return found.partition === undefined ? this.backend : partition(this.backend, found.partition);
    const wanted = label === undefined ? `the UUID ${uuid}` : `the label ${JSON.stringify(label)}`;
    const names = all.map((one) => JSON.stringify(one.label ?? one.uuid ?? one.type)).join(', ') || 'none';
    throw Object.assign(new Error(`no filesystem has ${wanted}; there are ${names}`), { code: 'ENOENT' });
  }
}

/**
 * Opens a disk: a file or block device by its path, an `http(s):` URL, or any device. A file that will be written is
 * locked by a file beside it, with `.lock` added to its name; a block device is opened for nobody else.
 * @param image a device is closed with the disk, and also if this fails
 * @throws Error if it cannot be opened, with the code EBUSY if somebody else writes it, or if there is no kernel for this
 * platform; the signal's reason
 */
export async function open(image: string | URL | BlockBackend, options: OpenOptions = {}): Promise<Disk> {
  const { memory, log, patience, signal } = options;
  const isReadOnly = options.readOnly ?? false;
  const opened = await backendOf(image, isReadOnly || options.fork !== undefined);
  let backend = opened;
  try {
    signal?.throwIfAborted();
    if (options.fork !== undefined) backend = await forked(opened, options.fork);
    if (isReadOnly) backend = readOnly(backend);
    const path = await findKernel(options.kernel);
    const kernel = await Kernel.start({
      path,
      ...(memory === undefined ? {} : { memory }),
      ...(log ? { log } : {}),
      ...(patience === undefined ? {} : { patience }),
      ...(signal ? { signal } : {}),
    });
    return new Disk(backend, kernel, isReadOnly || !backend.write);
  } catch (error) {
    await backend.close();
    throw error;
  }
}

async function forked(base: BlockBackend, fork: string | true): Promise<BlockBackend> {
  if (fork !== true) return overlay(base, fork);
  const changes = await temporaryOverlay(base);
  return withClose(changes, async () => {
    await changes.close();
    await base.close();
  });
}

async function backendOf(image: string | URL | BlockBackend, isReadOnly: boolean): Promise<BlockBackend> {
  if (typeof image === 'object' && 'read' in image) return image;
  const text = String(image);
  if (/^https?:/i.test(text)) return http(text);
  if (/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(text) && !existsSync(text)) throw noFile(text);
  const path = /^file:/i.test(text) ? fileURLToPath(text) : text;
  if (isReadOnly) return file(path, { readOnly: true });
  const target = await realpath(path);
  if ((await stat(target)).isBlockDevice()) return flushEarly(await file(target, { exclusive: true }));
  const unlock = await lockBeside(target);
  try {
    const device = flushEarly(await file(target));
    return withClose(device, async () => {
      await device.close();
      await unlock();
    });
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** A URL may have a password. */
function noFile(text: string): Error {
  const shown = JSON.stringify(text.replace(/\/\/[^/]*@/, '//'));
  const message = `${shown} is no file and no http(s) URL; openSource of @nodeos/disk opens other sources`;
  return Object.assign(new Error(message), { code: 'ENOENT' });
}

/**
 * The lock of who writes a file. There is none in a folder that may not be written, although the file may.
 * @returns a function that releases it. @throws Error with the code EBUSY if another process has it
 */
export async function lockBeside(path: string): Promise<() => Promise<void>> {
  try {
    return await lockFile(`${path}.lock`);
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes((error as { code?: string }).code ?? '')) throw error;
    return () => Promise.resolve();
  }
}
