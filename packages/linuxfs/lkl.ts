/**
 * The interface of the package `lkl` (node-lkl), made of this one: a program that used it runs with its import changed.
 * https://github.com/balena-io-modules/node-lkl
 *
 * A kernel starts with each disk, and ends when it is removed or, if `mount` got the disk itself, unmounted. `utils`, whose
 * functions return disposers of Bluebird, is not here.
 */
import type { BlockBackend } from '@nodeos/block';
import type { MountedFilesystem } from './mounted.js';
import { open, type Disk } from './open.js';
import { functionsFor } from './lkl-fs.js';

type Callback<T> = (error: Error | null, value?: T) => void;

/** A file as a disk. */
class FileDisk {
  /** @param path of the file. @param readOnly nothing is written to it. Default false */
  constructor(
    readonly path: string,
    readonly readOnly = false,
  ) {}
}

/** What disks of the package `file-disk` have. */
interface ForeignDisk {
  read(into: Buffer, at: number, length: number, offset: number): unknown;
  write?(bytes: Buffer, at: number, length: number, offset: number): unknown;
  flush?(): unknown;
  /** @returns bytes, or a promise of them */
  getCapacity(): unknown;
}

/** A disk of the package `file-disk`. */
class DiskWrapper {
  constructor(readonly disk: ForeignDisk) {}

  /** The same as a device: each request has one buffer, which is read or written whole. */
  async backend(): Promise<BlockBackend> {
    const { disk } = this;
    const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return {
      size: Number(await disk.getCapacity()),
      read: async (into, offset) => {
        await disk.read(buffer(into), 0, into.length, offset);
      },
      ...(disk.write && {
        write: async (bytes, offset) => {
          await disk.write?.(buffer(bytes), 0, bytes.length, offset);
        },
      }),
      ...(disk.flush && {
        flush: async () => {
          await disk.flush?.();
        },
      }),
      close: () => undefined,
    };
  }
}
export const disk = { FileDisk, DiskWrapper };

export type AnyDisk = FileDisk | DiskWrapper | BlockBackend;

export interface MountOptions {
  /** Such as `ext4`. Default: what is found. */
  readonly filesystem?: string;
  readonly readOnly?: boolean;
  /** From 1 on. Default, and 0: the disk is the filesystem. */
  readonly partition?: number;
}

interface Mount {
  readonly mounted: MountedFilesystem;
  /** A disk that nobody else has added. */
  readonly ownDisk: Disk | undefined;
}

const disks = new Map<number, Disk>();
const mounts = new Map<string, Mount>();
let memory: number | undefined;
let count = 0;

/** The functions of `node:fs` with callbacks; paths begin with a mountpoint. */
export const fs = functionsFor((mountpoint) => mounts.get(mountpoint)?.mounted);

/** @param bytes of memory for each kernel; at least 64 MiB are taken */
export function startKernelSync(bytes?: number): void {
  memory = bytes;
}

/** Ends what is still there, which for its disks is a power cut. */
export function haltKernelSync(): void {
  const own = [...mounts.values()].flatMap(({ ownDisk }) => ownDisk ?? []);
  for (const one of [...disks.values(), ...own]) {
    one.kill();
    void one.close().catch(() => undefined); // that not everything is durable is what was asked for
  }
  disks.clear();
  mounts.clear();
}

async function opened(from: AnyDisk, readOnly?: boolean): Promise<Disk> {
  const isReadOnly = readOnly ?? (from instanceof FileDisk && from.readOnly);
  const device = from instanceof DiskWrapper ? await from.backend() : from instanceof FileDisk ? from.path : from;
  return open(device, { readOnly: isReadOnly, ...(memory === undefined ? {} : { memory }) });
}

/** @returns its number, for `mount` and `diskRemove` */
export async function diskAddAsync(from: AnyDisk): Promise<number> {
  const added = await opened(from);
  disks.set(++count, added);
  return count;
}

/** Unmounts it, and makes everything durable. */
export async function diskRemoveAsync(number: number): Promise<void> {
  const removed = disks.get(number);
  disks.delete(number);
  await removed?.close();
}

/** @returns the mountpoint: where the paths of its files begin */
export async function mountAsync(from: AnyDisk | number, options: MountOptions = {}): Promise<string> {
  const { partition = 0, filesystem, readOnly } = options;
  const ownDisk = typeof from === 'number' ? undefined : await opened(from, readOnly);
  const added = ownDisk ?? disks.get(from as number);
  if (!added) throw Object.assign(new Error('there is no disk of this number'), { code: 'ENODEV' });
  try {
    const mounted = await added.mount({
      ...(partition === 0 ? {} : { partition }),
      ...(filesystem === undefined ? {} : { filesystem }),
      ...(readOnly === undefined ? {} : { readOnly }),
    });
    const mountpoint = `/mnt/${++count}`;
    mounts.set(mountpoint, { mounted, ownDisk });
    return mountpoint;
  } catch (error) {
    await ownDisk?.close();
    throw error;
  }
}

/** Makes everything durable. */
export async function umountAsync(mountpoint: string): Promise<void> {
  const found = mounts.get(mountpoint);
  if (!found) throw Object.assign(new Error(`EINVAL: nothing is mounted at '${mountpoint}'`), { code: 'EINVAL' });
  mounts.delete(mountpoint);
  await found.mounted.unmount();
  await found.ownDisk?.close();
}

export function diskAdd(from: AnyDisk, callback: Callback<number>): void {
  answer(diskAddAsync(from), callback);
}

export function diskRemove(number: number, callback: Callback<void>): void {
  answer(diskRemoveAsync(number), callback);
}

export function mount(from: AnyDisk | number, options: MountOptions, callback: Callback<string>): void {
  answer(mountAsync(from, options), callback);
}

export function umount(mountpoint: string, callback: Callback<void>): void {
  answer(umountAsync(mountpoint), callback);
}

function answer<T>(work: Promise<T>, callback: Callback<T>): void {
  work.then(
    (value) => process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback, error),
  );
}
