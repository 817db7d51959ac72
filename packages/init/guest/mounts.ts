/**
 * Mounts the filesystems before anything else runs. Filesystems in memory have size limits. Whichever of them the
 * application fills, enough memory remains to start it again.
 */
import { APP_ID, PATHS } from '@nodeos/contract';
import type { Syscalls } from './syscalls.js';

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;

const MIB = 1 << 20;
const PAGE = 4096;

export interface Mount {
  /** What is mounted. Default: the type. */
  readonly source?: string;
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly data: string;
  /** Size limit in percent of the memory that is free now; at least 1 MiB. */
  readonly share?: number;
  /** Mounted only if the root is in memory. On other roots, the changes stay on the root. */
  readonly onlyInMemory?: true;
}

const MOUNTS: readonly Mount[] = [
  // For files that root writes. It is already mounted and contains the image, so it only gets a size limit.
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

/** @throws Error naming each failed mount; the other mounts are done */
export function mountAll(sys: Syscalls): void {
  const inMemory = rootType(sys) === 'rootfs';
  for (const [target, path] of LINKS) if (!sys.exists(path)) sys.symlink(target, path);
  try {
    mountEach(
      sys,
      MOUNTS.filter(({ onlyInMemory }) => inMemory || !onlyInMemory),
    );
  } finally {
    sys.mkdir('/run/nodeos', 0o700);
  }
}

/** Mounts in order, and makes the folders for it. @throws Error naming each failed mount; the other mounts are done */
export function mountEach(sys: Syscalls, mounts: readonly Mount[]): void {
  let known: number | undefined;
  const free = (): number => (known ??= freeMemory(sys));
  runForEach(
    mounts,
    ({ target }) => target,
    (mount) => {
      const { source = mount.type, target, type, flags } = mount;
      if (!(flags & MS_REMOUNT)) sys.mkdir(target, 0o755);
      sys.mount(source, target, type, flags, dataOf(sys, mount, free));
    },
  );
}

/** Whether something is mounted at that path. */
export const isMounted = (sys: Syscalls, path: string): boolean =>
  sys
    .read('/proc/mounts')
    .toString()
    .split('\n')
    .some((line) => line.split(' ')[1] === path);

/** A file takes memory besides its contents. So the number of files is limited to one per page of the size. */
function dataOf(sys: Syscalls, { target, flags, data, share }: Mount, free: () => number): string {
  if (share === undefined) return data;
  const used = flags & MS_REMOUNT ? sys.usedBytes(target) : 0;
  const size = used + Math.max(MIB, Math.floor((free() * share) / 100));
  const options = [
    data,
    `size=${Math.floor(size / 1024)}k`,
    flags & MS_REMOUNT ? '' : `nr_inodes=${Math.floor(size / PAGE)}`,
  ];
  return options.filter((word) => word !== '').join(',');
}

/** Free memory in bytes. */
function freeMemory(sys: Syscalls): number {
  const [, kilobytes] = /^MemAvailable: +(\d+) kB$/m.exec(sys.read('/proc/meminfo').toString()) ?? [];
  return Number(kilobytes) * 1024;
}

/** The type of the root filesystem. `rootfs` is the initramfs. */
function rootType(sys: Syscalls): string | undefined {
  const mounts = sys.read('/proc/mounts').toString().split('\n');
  return mounts
    .map((line) => line.split(' '))
    .filter(([, target]) => target === '/')
    .at(-1)?.[2];
}

/** Does the work for every item. @throws Error naming each failed item; the others are done */
export function runForEach<T>(items: readonly T[], nameOf: (item: T) => string, work: (item: T) => void): void {
  const failures: string[] = [];
  for (const item of items) {
    try {
      work(item);
    } catch (error) {
      failures.push(`${nameOf(item)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failures.length > 0) throw new Error(failures.join('; '));
}
