/** Disks with filesystems, made and checked by the programs of each, and the kernel that is tested. */
import { execFileSync, spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, plainProgress, stepsOf } from '@nodeos/engine';
import { targetOf } from '@nodeos/targets';
import { open, type Disk } from '@nodeos/linuxfs';
import { systemOf } from 'nodeos';
import { onTestFinished } from 'vitest';

const kernels = new Map<string, Promise<string>>();

/** The kernel's file: that of NODEOS_LINUXFS_KERNEL, else the one of the sources, built if it is not in the cache. */
export const builtKernel = (): Promise<string> => built('NODEOS_LINUXFS_KERNEL', 'linuxfs');

/** The same for QEMU, of NODEOS_LINUXFS_QEMU_KERNEL or of the sources. @param target default: that of this machine */
export const builtQemuKernel = (target = 'x86_64'): Promise<string> =>
  built('NODEOS_LINUXFS_QEMU_KERNEL', 'linuxfsVirt', target);

function built(variable: string, which: 'linuxfs' | 'linuxfsVirt', target = 'x86_64'): Promise<string> {
  const key = `${which} ${target}`;
  const kernel = kernels.get(key) ?? process.env[variable] ?? buildOf(which, target);
  kernels.set(key, Promise.resolve(kernel));
  return Promise.resolve(kernel);
}

async function buildOf(which: 'linuxfs' | 'linuxfsVirt', target: string): Promise<string> {
  const artifact = (await systemOf(targetOf(target)))[which];
  if (!artifact) throw new Error(`there is no such kernel of linuxfs for ${target}`);
  const progress = plainProgress((text) => process.stderr.write(text));
  return (await build(stepsOf(artifact), { progress, jobs: 2 })).path(artifact);
}

/** A disk with that kernel, which is closed when the test ends. */
export async function opened(...[image, options]: Parameters<typeof open>): Promise<Disk> {
  const disk = await open(image, { ...options, kernel: options?.kernel ?? (await builtKernel()) });
  onTestFinished(() => disk.close().catch(() => undefined));
  return disk;
}

interface Filesystem {
  readonly make: readonly [string, ...string[]];
  /** Says whether a filesystem is sound; it changes nothing. */
  readonly check: readonly [string, ...string[]];
  /** Has owners, links, modes and attributes. */
  readonly isUnix: boolean;
}

export const WRITABLE: Readonly<Record<string, Filesystem>> = {
  ext4: { make: ['mkfs.ext4', '-q', '-F'], check: ['e2fsck', '-fn'], isUnix: true },
  ext3: { make: ['mkfs.ext3', '-q', '-F'], check: ['e2fsck', '-fn'], isUnix: true },
  ext2: { make: ['mkfs.ext2', '-q', '-F'], check: ['e2fsck', '-fn'], isUnix: true },
  xfs: { make: ['mkfs.xfs', '-q', '-f'], check: ['xfs_repair', '-n'], isUnix: true },
  btrfs: { make: ['mkfs.btrfs', '-q', '-f'], check: ['btrfs', 'check'], isUnix: true },
  f2fs: { make: ['mkfs.f2fs', '-q', '-f'], check: ['fsck.f2fs', '--dry-run'], isUnix: true },
  vfat: { make: ['mkfs.vfat', '-F', '32'], check: ['fsck.vfat', '-n'], isUnix: false },
  exfat: { make: ['mkfs.exfat'], check: ['fsck.exfat', '-n'], isUnix: false },
};

const DISK_BYTES = 384 << 20;

/** An image with an empty filesystem. */
export function emptyDisk(folder: string, type: string): string {
  const path = join(folder, `${type}.img`);
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  const [command, ...args] = filesystemOf(type).make;
  execFileSync(command, [...args, path], { stdio: 'pipe' });
  return path;
}

/** What the filesystem's own program says of it. */
export function checked(path: string, type: string): { status: number | null; said: string } {
  const [command, ...args] = filesystemOf(type).check;
  const { status, stdout, stderr } = spawnSync(command, [...args, path], { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

export function filesystemOf(type: string): Filesystem {
  const found = WRITABLE[type];
  if (!found) throw new Error(`${type} is not in the table`);
  return found;
}
