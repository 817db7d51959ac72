/**
 * Lists the drives of a Mac, as diskutil(8) knows them. /dev/diskN is written through a cache; /dev/rdiskN is the same
 * drive without it.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Drive } from './drive.js';
import { parsePlist, type Plist, type PlistDict } from './plist.js';

/** Calls diskutil. @returns what it prints */
export type Diskutil = (...words: string[]) => Promise<string>;

const diskutil: Diskutil = async (...words) =>
  (await promisify(execFile)('/usr/sbin/diskutil', words, { maxBuffer: 16 << 20 })).stdout;

const NOTHING: PlistDict = new Map();
const dictOf = (value: Plist | undefined): PlistDict => (value instanceof Map ? (value as PlistDict) : NOTHING);
const dictsIn = (dict: PlistDict, key: string): PlistDict[] => {
  const list = dict.get(key);
  return Array.isArray(list) ? list.map(dictOf) : [];
};
const textIn = (dict: PlistDict, key: string): string => {
  const text = dict.get(key);
  return typeof text === 'string' ? text : '';
};

/** The drives, by name, without disk images and without containers of APFS. @throws the errors of diskutil; SyntaxError */
export async function listMacDrives(call: Diskutil = diskutil): Promise<Drive[]> {
  const all = dictsIn(dictOf(parsePlist(await call('list', '-plist'))), 'AllDisksAndPartitions');
  const drives: Drive[] = [];
  for (const disk of all) {
    const name = textIn(disk, 'DeviceIdentifier');
    if (!/^disk\d+$/.test(name) || disk.has('APFSPhysicalStores')) continue;
    const info = dictOf(parsePlist(await call('info', '-plist', name)));
    if (textIn(info, 'VirtualOrPhysical') !== 'Virtual') drives.push(driveOf(name, disk, info, all));
  }
  return drives;
}

function driveOf(name: string, disk: PlistDict, info: PlistDict, all: readonly PlistDict[]): Drive {
  const mounts = [disk, ...containersOn(name, all)].flatMap(mountsIn);
  const size = info.get('Size');
  return {
    name,
    path: `/dev/${name}`,
    rawPath: `/dev/r${name}`,
    size: typeof size === 'number' ? size : 0,
    model: textIn(info, 'MediaName').trim(),
    bus: textIn(info, 'BusProtocol') || 'unknown bus',
    isRemovable: info.get('RemovableMedia') === true,
    mounts: mounts.map(([, place]) => place),
    refusals: [
      ...(info.get('WritableMedia') === false ? ['it is read-only'] : []),
      ...mounts.map(([volume, place]) => `${volume} is mounted at ${place}`),
    ],
  };
}

/** Containers of APFS are disks of their own, which lie on partitions of others. */
const containersOn = (name: string, all: readonly PlistDict[]): PlistDict[] =>
  all.filter((disk) =>
    dictsIn(disk, 'APFSPhysicalStores').some((store) =>
      new RegExp(`^${name}(?:s\\d+)?$`).test(textIn(store, 'DeviceIdentifier')),
    ),
  );

/** What is mounted of a disk, its partitions and volumes. A started Mac has / from a snapshot. */
function mountsIn(disk: PlistDict): [volume: string, place: string][] {
  const volumes = [disk, ...dictsIn(disk, 'Partitions'), ...dictsIn(disk, 'APFSVolumes')];
  return volumes.flatMap((volume) => {
    const places = [
      textIn(volume, 'MountPoint'),
      ...dictsIn(volume, 'MountedSnapshots').map((snapshot) => textIn(snapshot, 'SnapshotMountPoint')),
    ];
    const name = textIn(volume, 'DeviceIdentifier');
    return places.filter((place) => place !== '').map((place): [string, string] => [name, place]);
  });
}
