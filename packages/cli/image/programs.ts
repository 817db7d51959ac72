/** The programs of this machine that make, check and resize filesystems. A type is a row. */
type Line = readonly [program: string, ...args: string[]];

/** A program that checks, without the path that follows. Statuses that are not named mean that it could not check. */
interface Check {
  readonly line: Line;
  /** Sound, or repaired. */
  readonly good: readonly number[];
  /** Not sound, or not repaired. */
  readonly bad: readonly number[];
}

export interface Programs {
  /** Without the path that follows. Undefined: it is only read, and made of files (`formats.ts`). */
  readonly make?: (label: string | undefined) => Line;
  readonly check?: Check;
  readonly repair?: Check;
  /** Why there is no program that repairs. */
  readonly noRepair?: string;
  /** Makes the filesystem as large as what it is in, or of so many bytes. */
  readonly resize?: (path: string, bytes: number | undefined) => Line;
  /** Linux itself resizes it, mounted, so no program is needed. */
  readonly resizesMounted?: boolean;
  /** Why there is no program that resizes. */
  readonly noResize?: string;
}

const named = (flag: string, label: string | undefined): string[] => (label === undefined ? [] : [flag, label]);

/** `e2fsck` says 1 for repaired, 2 for repaired with a restart, 4 for errors that are left. */
const ext = (type: string): Programs => ({
  make: (label) => ['mke2fs', '-q', '-F', '-t', type, ...named('-L', label)],
  check: { line: ['e2fsck', '-f', '-n'], good: [0], bad: [4, 12] },
  repair: { line: ['e2fsck', '-f', '-y'], good: [0, 1, 2], bad: [4, 12] },
  resize: (path, bytes) => ['resize2fs', path, ...(bytes === undefined ? [] : [`${Math.floor(bytes / 1024)}K`])],
});

const ONLY_READ = 'it is never changed: make it again';

export const PROGRAMS: Readonly<Record<string, Programs>> = {
  ext4: ext('ext4'),
  ext3: ext('ext3'),
  ext2: ext('ext2'),
  xfs: {
    make: (label) => ['mkfs.xfs', '-q', '-f', ...named('-L', label)],
    check: { line: ['xfs_repair', '-n'], good: [0], bad: [1, 2] },
    repair: { line: ['xfs_repair'], good: [0], bad: [1, 2] },
    resizesMounted: true,
  },
  btrfs: {
    make: (label) => ['mkfs.btrfs', '-q', '-f', ...named('-L', label)],
    check: { line: ['btrfs', 'check'], good: [0], bad: [1] },
    noRepair: 'btrfs check --repair can make it worse: copy the files to a new one',
    resizesMounted: true,
  },
  f2fs: {
    make: (label) => ['mkfs.f2fs', '-q', '-f', ...named('-l', label)],
    check: { line: ['fsck.f2fs', '--dry-run'], good: [0], bad: [1, 255] },
    repair: { line: ['fsck.f2fs', '-f'], good: [0, 1], bad: [255] },
    resize: (path, bytes) => ['resize.f2fs', ...(bytes === undefined ? [] : ['-s', '-t', String(bytes / 512)]), path],
  },
  vfat: {
    make: (label) => ['mkfs.fat', ...named('-n', label)],
    check: { line: ['fsck.fat', '-n'], good: [0], bad: [1] },
    repair: { line: ['fsck.fat', '-a'], good: [0, 1], bad: [2] },
    noResize: 'no program of Linux resizes it where it is: make a new one, and copy the files',
  },
  exfat: {
    make: (label) => ['mkfs.exfat', ...named('-L', label)],
    check: { line: ['fsck.exfat', '-n'], good: [0], bad: [1, 4] },
    repair: { line: ['fsck.exfat', '-y'], good: [0, 1], bad: [4] },
    noResize: 'no program resizes it: make a new one, and copy the files',
  },
  erofs: {
    check: { line: ['fsck.erofs'], good: [0], bad: [1] },
    noRepair: ONLY_READ,
    noResize: ONLY_READ,
  },
  squashfs: { noRepair: ONLY_READ, noResize: ONLY_READ },
  iso9660: { noRepair: ONLY_READ, noResize: ONLY_READ },
};
