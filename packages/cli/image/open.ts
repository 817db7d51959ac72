/** Opens the filesystems of images: to read by our readers, which need no kernel, else by @nodeos/linuxfs. */
import { access, constants } from 'node:fs/promises';
import { partition, partitions, withClose, type BlockBackend, type Partition } from '@nodeos/block';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { localPath, openSource } from '@nodeos/disk';
import { readImage } from '@nodeos/fs';
import { open, probe, type Disk, type MountedFilesystem } from '@nodeos/linuxfs';
import type { Entry, Tree } from '@nodeos/tree';
import type { Io } from '../command.js';
import { openWithProgress } from '../opened.js';
import { unlessKilled, unlessStopped } from '../nbd/stop.js';
import { kernelPath } from './kernel.js';
import type { Location } from './location.js';

/** A filesystem that is read. */
export interface Files {
  /** Such as `fat32` or `ext4`. */
  readonly format: string;
  /** All files, or at least those at and below a path, by their whole paths. A folder comes before what is in it. */
  entries(path: string): Tree;
}

/** Does the work with a filesystem, which is closed then. @throws NodeosError if there is none */
export async function withFiles<T>(location: Location, io: Io, work: (files: Files) => Promise<T>): Promise<T> {
  const disk = await openWithProgress(location.source, { cached: true }, io);
  try {
    const device = await deviceOf(disk, location);
    const known = await readImage(device).catch((error: unknown) => {
      if (codeOf(error) === 'EINVAL') return undefined;
      throw error;
    });
    if (known) return await unlessStopped(work({ format: known.format, entries: () => known.entries() }), io);
    return await withMountedDevice(device, location, io, work);
  } catch (error) {
    throw explained(error, location, io);
  } finally {
    await disk.close();
  }
}

/** Journals are replayed, which the disk itself does not see. */
async function withMountedDevice<T>(
  device: BlockBackend,
  location: Location,
  io: Io,
  work: (files: Files) => Promise<T>,
): Promise<T> {
  if (!(await probe(device))) throw await unknownIn(device, location);
  const inner = withClose(device, () => undefined); // its opener closes it
  const disk = await open(inner, { fork: true, kernel: await kernelPath(io) });
  return using(disk, io, async () => work(filesOf(await disk.mount())));
}

/** A mounted filesystem, as what is read. */
export const filesOf = (mounted: MountedFilesystem): Files => ({
  format: mounted.type,
  entries: (path) => below(mounted.toTree(`/${path}`), path),
});

/** Entries that are relative to a path, with their whole paths. */
async function* below(tree: Tree, path: string): Tree {
  let isFolder: boolean | undefined;
  for await (const entry of tree) {
    isFolder ??= entry.path === '';
    const full = (inner: string): string =>
      !isFolder || inner === '' ? path : path === '' ? inner : `${path}/${inner}`;
    if (full(entry.path) === '') continue; // the root itself
    const hardLink = entry.hardLink === undefined ? {} : { hardLink: full(entry.hardLink) };
    yield { ...entry, path: full(entry.path), ...hardLink };
  }
}

/**
 * Does the work with a filesystem that can be written. Then, and also if the work fails or is interrupted, it is unmounted
 * and durable.
 * @throws NodeosError if there is none, or if somebody else writes it
 */
export async function withMounted<T>(
  location: Location,
  io: Io,
  work: (mounted: MountedFilesystem, disk: Disk) => Promise<T>,
): Promise<T> {
  try {
    const disk = await openToWrite(location.source, io);
    return await using(disk, io, async () => {
      const device = await deviceOf(disk.backend, location);
      if (!(await probe(device))) throw await unknownIn(device, location);
      const { partition: number } = location;
      return work(await disk.mount(number === undefined ? {} : { partition: number }), disk);
    });
  } catch (error) {
    throw explained(error, location, io);
  }
}

/** What cannot be written is refused before the kernel is built, which may take long. */
async function openToWrite(source: string, io: Io): Promise<Disk> {
  const path = localPath(source);
  if (path !== undefined) {
    await access(path, constants.R_OK | constants.W_OK);
    return open(path, { kernel: await kernelPath(io) });
  }
  const device = await openSource(source, { write: true, exclusive: true, signal: io.signal });
  const kernel = await kernelPath(io).catch(async (error: unknown) => {
    await device.close();
    throw error;
  });
  return open(device, { kernel });
}

/** The second Ctrl-C waits for nothing: for the disk it is a power cut. */
async function using<T>(disk: Disk, io: Io, work: () => Promise<T>): Promise<T> {
  const kill = (): void => disk.kill();
  io.kill.addEventListener('abort', kill, { once: true });
  try {
    return await unlessKilled(work(), io);
  } finally {
    await disk.close();
    io.kill.removeEventListener('abort', kill);
  }
}

/** The partition of a location, or the whole disk. */
async function deviceOf(disk: BlockBackend, { partition: number }: Location): Promise<BlockBackend> {
  return number === undefined ? disk : partition(disk, number);
}

async function unknownIn(device: BlockBackend, { text }: Location): Promise<NodeosError> {
  const numbers = (await partitionsOf(device)).map(({ number }) => `${text.replace(/:?\/*$/, '')}:${number}`);
  return new NodeosError(
    `${text}: there is no filesystem here that is known`,
    numbers.length === 0 ? {} : { hint: `it is a disk: ${numbers.join(', ')}` },
  );
}

/** The partitions; none if there is no intact table. */
export const partitionsOf = (device: BlockBackend): Promise<Partition[]> => partitions(device).catch(() => []);

/** An error with the name of what it is about; an interruption as it is. */
function explained(error: unknown, { text, source }: Location, io: Io): unknown {
  if (io.signal.aborted && error === io.signal.reason) return error;
  if (error instanceof NodeosError || error instanceof AggregateError) return error;
  const hint = HINTS[codeOf(error) ?? ''];
  const isLock = codeOf(error) === 'EBUSY' && messageOf(error).includes(source);
  return new NodeosError(isLock ? messageOf(error) : `${text}: ${messageOf(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

const HINTS: Readonly<Record<string, string>> = {
  EBUSY: 'somebody else writes it: wait until that is done',
  ENOSPC: 'the filesystem is full: nodeos image resize makes it larger',
  EUCLEAN: 'the filesystem is damaged: nodeos image fsck says how',
};

/** The entries at and below a path, by their whole paths. @throws NodeosError if there are none */
export async function* entriesBelow(
  files: { entries(path: string): Tree | Iterable<Entry> },
  path: string,
  { signal }: Pick<Io, 'signal'>,
): AsyncGenerator<Entry> {
  const wanted = path.replace(/^\/+/, '');
  let found = wanted === '';
  for await (const entry of entriesAt(files, wanted)) {
    signal.throwIfAborted();
    if (wanted !== '' && entry.path !== wanted && !entry.path.startsWith(`${wanted}/`)) continue;
    found = true;
    yield entry;
  }
  if (!found) throw new NodeosError(`there is no ${wanted} in it`);
}

async function* entriesAt(files: Parameters<typeof entriesBelow>[0], wanted: string): Tree {
  try {
    yield* files.entries(wanted);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new NodeosError(`there is no ${wanted} in it`, { cause: error });
    throw error;
  }
}
