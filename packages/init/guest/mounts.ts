/**
 * The filesystems that are mounted before anything else. Those in memory are bounded: together they leave enough for the
 * application to start again, whichever of them it has filled.
 */
import { APP_ID, PATHS } from '@nodeos/contract';
import type { Syscalls } from './syscalls.js';

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 32;

const MIB = 1 << 20;
const PAGE = 4096;

interface Mount {
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly data: string;
  /** Of the memory that is free at this time, in percent; at least 1 MiB. */
  readonly share?: number;
  /** Where changes are not kept anyway; elsewhere they stay on the root. */
  readonly onlyInMemory?: true;
}

const MOUNTS: readonly Mount[] = [
  // What root writes. It is there, with the image in it, and only gets a size.
  { target: '/', type: 'rootfs', flags: MS_REMOUNT, data: '', share: 20, onlyInMemory: true },
  { target: '/dev/pts', type: 'devpts', flags: MS_NOSUID | MS_NOEXEC, data: 'gid=5,mode=620,ptmxmode=666' },
  { target: '/dev/shm', type: 'tmpfs', flags: MS_NOSUID | MS_NODEV | MS_NOEXEC, data: 'mode=1777', share: 5 },
  { target: '/run', type: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data: 'mode=755', share: 5 },
  { target: '/tmp', type: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data: 'mode=1777', share: 20 },
  {
    target: PATHS.home,
    type: 'tmpfs',
    flags: MS_NOSUID | MS_NODEV,
    data: `mode=755,uid=${APP_ID},gid=${APP_ID}`,
    share: 35,
    onlyInMemory: true,
  },
];

const LINKS: readonly (readonly [string, string])[] = [
  ['/proc/self/fd', '/dev/fd'],
  ['/proc/self/fd/0', '/dev/stdin'],
  ['/proc/self/fd/1', '/dev/stdout'],
  ['/proc/self/fd/2', '/dev/stderr'],
];

/** @throws Error naming each mount that failed; the others are done. */
export function mountAll(sys: Syscalls): void {
  const free = freeMemory(sys);
  const inMemory = rootType(sys) === 'rootfs';
  for (const [target, path] of LINKS) if (!sys.exists(path)) sys.symlink(target, path);
  try {
    everyOne(
      MOUNTS.filter(({ onlyInMemory }) => inMemory || !onlyInMemory),
      ({ target }) => target,
      (mount) => {
        if (!(mount.flags & MS_REMOUNT)) sys.mkdir(mount.target, 0o755);
        sys.mount(mount.type, mount.target, mount.type, mount.flags, dataOf(sys, mount, free));
      },
    );
  } finally {
    sys.mkdir('/run/nodeos', 0o700);
  }
}

/** A file takes memory besides its contents: as many are allowed as have a page each. */
function dataOf(sys: Syscalls, { target, flags, data, share }: Mount, free: number): string {
  if (share === undefined) return data;
  const used = flags & MS_REMOUNT ? sys.used(target) : 0;
  const size = used + Math.max(MIB, Math.floor((free * share) / 100));
  const words = [
    data,
    `size=${Math.floor(size / 1024)}k`,
    flags & MS_REMOUNT ? '' : `nr_inodes=${Math.floor(size / PAGE)}`,
  ];
  return words.filter((word) => word !== '').join(',');
}

/** Bytes. */
function freeMemory(sys: Syscalls): number {
  const [, kilobytes] = /^MemAvailable: +(\d+) kB$/m.exec(sys.read('/proc/meminfo').toString()) ?? [];
  return Number(kilobytes) * 1024;
}

/** `rootfs` is the initramfs. */
function rootType(sys: Syscalls): string | undefined {
  const mounts = sys.read('/proc/mounts').toString().split('\n');
  return mounts
    .map((line) => line.split(' '))
    .filter(([, target]) => target === '/')
    .at(-1)?.[2];
}

/** @throws Error naming each that failed; the others are done. */
export function everyOne<T>(all: readonly T[], nameOf: (one: T) => string, work: (one: T) => void): void {
  const failures: string[] = [];
  for (const one of all) {
    try {
      work(one);
    } catch (error) {
      failures.push(`${nameOf(one)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failures.length > 0) throw new Error(failures.join('; '));
}
