/**
 * Lists the drives of a machine with Linux, and says why one must not be overwritten. Nothing here decides which drive is
 * meant: `removable` is 0 for card readers and 1 for some disks, and a card can be /dev/sda.
 * https://docs.kernel.org/admin-guide/abi-stable.html (/sys/block), https://man7.org/linux/man-pages/man5/proc.5.html
 */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { mountsIn } from '@nodeos/base';
import type { Drive } from './drive.js';

/** Folders of the system. Tests have their own. */
export interface SystemFolders {
  readonly sys: string;
  readonly proc: string;
}

const SYSTEM: SystemFolders = { sys: '/sys', proc: '/proc' };
const SECTOR = 512;

/** Buses by a part of the device's path in /sys. The first one that matches counts. */
const BUSES: readonly (readonly [RegExp, string])[] = [
  [/\/usb\d/, 'USB'],
  [/\/mmc_host\//, 'SD card or eMMC'],
  [/\/nvme\//, 'NVMe'],
  [/\/virtio\d/, 'virtio'],
  [/\/ata\d/, 'SATA'],
  [/\/virtual\/block\/loop/, 'loop device'],
  [/\/virtual\/block\/nbd/, 'NBD'],
];
/** What is no drive, although the kernel has it among them. */
const NO_DRIVES = /^(?:ram|zram|dm-|md|sr|fd)\d/;

/** The drives, by name. Empty slots and devices in memory are left out. @throws the errors of reading /sys */
export async function listLinuxDrives(folders: SystemFolders = SYSTEM): Promise<Drive[]> {
  const names = (await readdir(join(folders.sys, 'block'))).filter((name) => !NO_DRIVES.test(name)).sort();
  const uses = await readUses(folders);
  const drives = await Promise.all(names.map((name) => readDrive(folders, name, uses)));
  return drives.filter(({ size }) => size > 0);
}

/** What is mounted, and what is swap. */
interface Uses {
  /** By device numbers (`8:1`) and by path (`/dev/sda1`). */
  readonly mounts: ReadonlyMap<string, readonly string[]>;
  readonly swaps: ReadonlySet<string>;
}

const textOf = (path: string): Promise<string> =>
  readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
const namesIn = (path: string): Promise<string[]> => readdir(path).catch(() => []);

async function readUses({ proc }: SystemFolders): Promise<Uses> {
  const mounts = new Map<string, string[]>();
  for (const { device, place, source } of mountsIn(await textOf(join(proc, 'self/mountinfo'))))
    for (const key of new Set([device, source])) mounts.set(key, [...(mounts.get(key) ?? []), place]);
  const swaps = (await textOf(join(proc, 'swaps'))).split('\n').slice(1);
  return { mounts, swaps: new Set(swaps.map((line) => line.split(/\s/)[0] ?? '')) };
}

async function readDrive({ sys }: SystemFolders, name: string, uses: Uses): Promise<Drive> {
  const folder = join(sys, 'block', name);
  const device = await realpath(folder).catch(() => folder);
  const partitions = (await namesIn(folder)).filter((part) => part.startsWith(name));
  const parts = [{ name, folder }, ...partitions.map((part) => ({ name: part, folder: join(folder, part) }))];
  const [size, removable, readOnly, ...model] = await Promise.all(
    ['size', 'removable', 'ro', 'device/vendor', 'device/model', 'device/name', 'loop/backing_file'].map((file) =>
      textOf(join(folder, file)),
    ),
  );
  const found = await Promise.all(parts.map((part) => usesOf(part, uses)));
  return {
    name,
    path: `/dev/${name}`,
    size: Number(size) * SECTOR,
    model: model.filter((part) => part !== '').join(' '),
    bus: BUSES.find(([pattern]) => pattern.test(device))?.[1] ?? 'unknown bus',
    isRemovable: removable === '1',
    mounts: found.flatMap(({ mounts }) => mounts),
    refusals: [...(readOnly === '1' ? ['it is read-only'] : []), ...found.flatMap(({ refusals }) => refusals)],
  };
}

async function usesOf(
  { name, folder }: { readonly name: string; readonly folder: string },
  { mounts, swaps }: Uses,
): Promise<{ mounts: readonly string[]; refusals: readonly string[] }> {
  const path = `/dev/${name}`;
  const numbers = await textOf(join(folder, 'dev'));
  const places = [...new Set([...(mounts.get(numbers) ?? []), ...(mounts.get(path) ?? [])])];
  const holders = await namesIn(join(folder, 'holders'));
  return {
    mounts: places,
    refusals: [
      ...places.map((place) => `${name} is mounted at ${place}`),
      ...(swaps.has(path) ? [`${name} is swap`] : []),
      ...holders.map((holder) => `${name} is used by ${holder}`),
    ],
  };
}
