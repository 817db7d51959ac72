/**
 * Becomes the program of a container's image. The image is a disk, with a layer for changes above it. The program has
 * that as its root, in a mount namespace of its own, and what Docker gives a container by default: its mounts, devices,
 * capabilities and system calls.
 *
 * https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md
 */
import { PATHS, WORDS, type ContainerConfig } from '@nodeos/contract';
import { architecture } from './architecture.js';
import type { BootContext } from './boot.js';
import { dropCapabilities, giveOutputs } from './confine.js';
import { isMounted, mountEach, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT, type Mount } from './mounts.js';
import { FAMILIES, filter } from './seccomp.js';
import type { Syscalls } from './syscalls.js';
import { takeTerminal } from './terminal.js';

/** The mounts that make the root. They are there once for all starts of the program. */
const FOLDER = '/run/container';
const [IMAGE, CHANGES, ROOT] = [`${FOLDER}/image`, `${FOLDER}/changes`, `${FOLDER}/root`];
/** Percent of the free memory for changes, if no disk keeps them. */
const CHANGES_SHARE = 50;

const MS_NOATIME = 1024;
const MS_BIND = 4096;
const MS_MOVE = 8192;
const CLONE_NEWNS = 0x00020000;
const CLONE_NEWCGROUP = 0x02000000;
const O_PATH = 0o10000000;
const AF_PACKET = 17;

const UNSAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/** What a container has beside its image. No device can be opened that is not in /dev. */
const MOUNTS: readonly Mount[] = [
  { target: '/proc', type: 'proc', flags: UNSAFE, data: '' },
  { target: '/dev', type: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data: 'mode=755,size=64k' },
  { target: '/dev/pts', type: 'devpts', flags: MS_NOSUID | MS_NOEXEC, data: 'gid=5,mode=620,ptmxmode=666' },
  { target: '/dev/shm', type: 'tmpfs', flags: UNSAFE, data: 'mode=1777', share: 10 },
  { target: '/dev/mqueue', type: 'mqueue', flags: UNSAFE, data: '' },
  { target: '/sys', type: 'sysfs', flags: UNSAFE | MS_RDONLY, data: '' },
  { target: '/sys/fs/cgroup', type: 'cgroup2', flags: UNSAFE | MS_RDONLY, data: '' },
];
/** Files of the machine that the container has too. */
const DEVICES = ['full', 'null', 'random', 'tty', 'urandom', 'zero'].map((name) => `/dev/${name}`);
const SHARED = [...DEVICES, '/etc/hostname', '/etc/hosts', '/etc/resolv.conf'];

const LINKS: readonly (readonly [string, string])[] = [
  ['/proc/self/fd', '/dev/fd'],
  ['/proc/self/fd/0', '/dev/stdin'],
  ['/proc/self/fd/1', '/dev/stdout'],
  ['/proc/self/fd/2', '/dev/stderr'],
  ['pts/ptmx', '/dev/ptmx'],
];

/** What is of the kernel and of the machine, not of the container: it can be read, or is empty. */
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`);
const EMPTY_FILES = ['kcore', 'keys', 'latency_stats', 'sched_debug', 'timer_list'].map((name) => `/proc/${name}`);
const EMPTY_FOLDERS = ['/proc/acpi', '/proc/asound', '/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap'];

/** Files below /proc/sys, as Docker sets them: all ports, and ICMP sockets for everybody. */
const SETTINGS: readonly (readonly [string, string])[] = [
  ['net/ipv4/ip_unprivileged_port_start', '0'],
  ['net/ipv4/ping_group_range', '0 2147483647'],
];

/** Docker's default capabilities, by their numbers in linux/capability.h. */
const CAPABILITIES: ReadonlySet<number> = new Set([
  ...[0, 1, 3, 4, 5, 6, 7], // chown, dac_override, fowner, fsetid, kill, setgid, setuid
  ...[8, 10, 13, 18], // setpcap, net_bind_service, net_raw, sys_chroot
  ...[27, 29, 31], // mknod, audit_write, setfcap
]);

/** Replaces this process by the container's program. @throws Error if the root cannot be made or the program not be run */
export function becomeContainer(context: BootContext, container: ContainerConfig): never {
  const { sys, config, report } = context;
  const { program, args, env, cwd, uid, gid, groups } = container;
  for (const [name, value] of SETTINGS) sys.write(`/proc/sys/${name}`, value);
  if (!isMounted(sys, ROOT)) mountRoot(sys, config.cmdline);
  if (container.terminal) takeTerminal(context);
  report.event('container', { program });
  report.close();
  enterRoot(sys, container.terminal);
  sys.mkdir(cwd, 0o755);
  sys.chdir(cwd);
  // Root needs no no_new_privs for a filter. Without it, programs that are set-user-id work.
  sys.setFilter(filter(architecture(), [...FAMILIES, AF_PACKET]));
  dropCapabilities(sys, CAPABILITIES);
  giveOutputs(sys, uid, gid);
  sys.setIdentity(uid, gid, groups);
  return sys.executeOther(program, args, env);
}

/** Mounts the image, and a layer for changes above it: on a disk, or in memory. */
function mountRoot(sys: Syscalls, cmdline: ReadonlyMap<string, string>): void {
  const [image, disk] = [cmdline.get(WORDS.container), cmdline.get(WORDS.upper)];
  if (image === undefined) throw new Error(`the kernel's command line has no ${WORDS.container}=`);
  const changes: Mount =
    disk === undefined
      ? { target: CHANGES, type: 'tmpfs', flags: MS_NODEV, data: 'mode=755', share: CHANGES_SHARE }
      : { target: CHANGES, source: disk, type: 'ext4', flags: MS_NODEV | MS_NOATIME, data: '' };
  mountEach(sys, [{ target: IMAGE, source: image, type: 'erofs', flags: MS_RDONLY | MS_NODEV, data: '' }, changes]);
  const [upper, work] = [`${CHANGES}/upper`, `${CHANGES}/work`];
  for (const path of [upper, work]) sys.mkdir(path, 0o755);
  // With redirect_dir=on a folder of the image is renamed without a copy. A layer that is kept must not do that: the
  // image's next version may have another folder of that name.
  const redirect = disk === undefined ? 'on' : 'follow';
  const data = `lowerdir=${IMAGE},upperdir=${upper},workdir=${work},redirect_dir=${redirect}`;
  mountEach(sys, [{ target: ROOT, type: 'overlay', flags: MS_NODEV, data }]);
}

/**
 * Makes the container's root that of this thread, in namespaces of its own, and mounts what a container has. All paths
 * are found within that root: whatever links an image has, they do not lead out of it.
 */
function enterRoot(sys: Syscalls, withTerminal: boolean): void {
  sys.unshare(CLONE_NEWNS | CLONE_NEWCGROUP);
  const shared = SHARED.filter((path) => sys.exists(path)).map((path) => ({ path, fd: sys.open(path, O_PATH) }));
  const data = isMounted(sys, PATHS.data) ? sys.open(PATHS.data, O_PATH) : undefined;
  if (withTerminal) shared.push({ path: '/dev/console', fd: sys.open(sys.readLink('/proc/self/fd/0'), O_PATH) });
  sys.chdir(ROOT);
  sys.mount('.', '/', '', MS_MOVE, '');
  sys.chroot('.');
  sys.chdir('/');
  mountEach(sys, MOUNTS);
  for (const { path, fd } of shared) {
    sys.mkdir(path.slice(0, path.lastIndexOf('/')), 0o755);
    sys.remove(path);
    sys.write(path, '');
    sys.mount(`/proc/self/fd/${fd}`, path, '', MS_BIND, '');
    sys.close(fd);
  }
  if (data !== undefined) {
    sys.mkdir(PATHS.data, 0o755);
    sys.mount(`/proc/self/fd/${data}`, PATHS.data, '', MS_BIND, '');
    sys.close(data);
  }
  for (const [target, path] of LINKS) sys.symlink(target, path);
  protect(sys);
}

function protect(sys: Syscalls): void {
  const there = (paths: readonly string[]): string[] => paths.filter((path) => sys.exists(path));
  for (const path of there(READ_ONLY)) {
    sys.mount(path, path, '', MS_BIND, '');
    sys.mount('', path, '', MS_BIND | MS_REMOUNT | MS_RDONLY | UNSAFE, '');
  }
  for (const path of there(EMPTY_FILES)) sys.mount('/dev/null', path, '', MS_BIND, '');
  mountEach(
    sys,
    there(EMPTY_FOLDERS).map((target) => ({ target, type: 'tmpfs', flags: UNSAFE | MS_RDONLY, data: '' })),
  );
}
