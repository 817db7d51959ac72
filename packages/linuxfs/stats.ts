/** What `stat` and `readdir` give, as objects of the classes of `node:fs`. */
import { Dirent, Stats, type BigIntStats, type BigIntStatsFs, type StatsFs } from 'node:fs';
import type { RawEntry, RawStat, RawStatfs, Time } from './protocol.js';

const device = ([major, minor]: readonly [number, number]): number =>
  // makedev(3)
  (minor & 0xff) + (major & 0xfff) * 0x100 + (minor >>> 8) * 0x100000;

const milliseconds = ({ seconds, nanoseconds }: Time): number => Number(seconds) * 1000 + nanoseconds / 1e6;
const inNanoseconds = ({ seconds, nanoseconds }: Time): bigint => seconds * 1_000_000_000n + BigInt(nanoseconds);
/** The nearest millisecond, as Node.js has it: half of those that are set as a number of seconds are a little below. */
const date = (time: Time): Date => new Date(Math.round(milliseconds(time)));

/** A filesystem without times of birth has those of the last change, as libuv does. */
const times = (raw: RawStat): Readonly<Record<'atime' | 'mtime' | 'ctime' | 'birthtime', Time>> => ({
  atime: raw.access,
  mtime: raw.modification,
  ctime: raw.change,
  birthtime: raw.birth ?? raw.change,
});

export function statsOf(raw: RawStat): Stats {
  const stats = Object.create(Stats.prototype) as Stats & Record<string, unknown>;
  Object.assign(stats, {
    dev: device(raw.device),
    mode: raw.mode,
    nlink: raw.links,
    uid: raw.uid,
    gid: raw.gid,
    rdev: device(raw.special),
    blksize: raw.blockSize,
    ino: Number(raw.inode),
    size: Number(raw.size),
    blocks: Number(raw.blocks),
  });
  for (const [name, time] of Object.entries(times(raw))) {
    Object.defineProperty(stats, `${name}Ms`, own(milliseconds(time)));
    Object.defineProperty(stats, name, own(date(time)));
  }
  return stats;
}

export function bigIntStatsOf(raw: RawStat): BigIntStats {
  const numbers = statsOf(raw);
  const stats = numbers as unknown as BigIntStats;
  for (const name of ['dev', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'blksize'] as const)
    stats[name] = BigInt(numbers[name]);
  Object.assign(stats, { ino: raw.inode, size: raw.size, blocks: raw.blocks });
  for (const [name, time] of Object.entries(times(raw))) {
    const whole = inNanoseconds(time) / 1_000_000n;
    Object.defineProperty(stats, `${name}Ms`, own(whole));
    Object.defineProperty(stats, `${name}Ns`, own(inNanoseconds(time)));
    Object.defineProperty(stats, name, own(new Date(Number(whole))));
  }
  for (const [method, type] of Object.entries(TYPE_METHODS))
    Object.defineProperty(stats, method, { value: () => (raw.mode & 0o170000) === type, enumerable: false });
  return stats;
}

const own = (value: unknown): PropertyDescriptor => ({ value, writable: true, enumerable: true, configurable: true });

/** `S_IF*`, inode(7). */
const TYPE_METHODS: Readonly<Record<string, number>> = {
  isFile: 0o100000,
  isDirectory: 0o040000,
  isSymbolicLink: 0o120000,
  isCharacterDevice: 0o020000,
  isBlockDevice: 0o060000,
  isFIFO: 0o010000,
  isSocket: 0o140000,
};

export const isFolder = (raw: RawStat): boolean => (raw.mode & 0o170000) === 0o040000;
export const isLink = (raw: RawStat): boolean => (raw.mode & 0o170000) === 0o120000;
export const isFile = (raw: RawStat): boolean => (raw.mode & 0o170000) === 0o100000;

/** The same for all names of a file, and for no other file. On btrfs, files of two subvolumes have the same number. */
export const identityOf = ({ device, inode }: RawStat): string => `${device.join(':')} ${inode}`;
export const isSame = (one: RawStat, other: RawStat): boolean => identityOf(one) === identityOf(other);

/** `DT_*` of readdir(3) as libuv's types, which `Dirent` takes: `UV_DIRENT_*`. */
const DIRENT_TYPES: Readonly<Record<number, number>> = { 8: 1, 4: 2, 10: 3, 1: 4, 12: 5, 2: 6, 6: 7 };

/** @param parent the folder, as the caller wrote it. @param name the name in the caller's encoding */
export function direntOf(entry: RawEntry, parent: string, name: string | Buffer): Dirent {
  const type = entry.type || (entry.stat ? (entry.stat.mode & 0o170000) >> 12 : 0);
  const Make = Dirent as unknown as new (name: string | Buffer, type: number, path: string) => Dirent;
  const made = new Make(name, DIRENT_TYPES[type] ?? 0, parent);
  // Node.js 20 has `path`, 20.12 and newer `parentPath` too.
  if ((made as { parentPath?: string }).parentPath === undefined) Object.assign(made, { parentPath: parent });
  return made;
}

export function statfsOf(raw: RawStatfs): StatsFs {
  const big = bigIntStatfsOf(raw);
  return Object.fromEntries(Object.entries(big).map(([name, value]) => [name, Number(value)])) as unknown as StatsFs;
}

export const bigIntStatfsOf = (raw: RawStatfs): BigIntStatsFs => ({
  type: raw.type,
  bsize: raw.blockSize,
  blocks: raw.blocks,
  bfree: raw.free,
  bavail: raw.available,
  files: raw.files,
  ffree: raw.freeFiles,
});

/** `.` and `..`, which the kernel lists. */
export const isDot = (name: Buffer): boolean =>
  name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
