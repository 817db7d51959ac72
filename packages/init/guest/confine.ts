/**
 * Permanently reduces the privileges of a program that is not root, and of its children. Other limits are elsewhere:
 * memory and processes (pid1/group.c), files (mounts.ts), system-wide settings (boot.ts).
 */
import { APP_ID } from '@nodeos/contract';
import { architecture } from './architecture.js';
import { filter } from './seccomp.js';
import type { Syscalls } from './syscalls.js';

const OUTPUTS = [1, 2];

/** Constants of linux/prctl.h. */
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;

/** @throws Error if any part fails; then the program must not run */
export function confine(sys: Syscalls): void {
  giveOutputs(sys, APP_ID, APP_ID);
  dropCapabilities(sys);
  sys.setIdentity(APP_ID, APP_ID);
  // When the process gave up root, /proc/self became root's. Make it accessible again: the process's memory contains
  // only the application's own data.
  sys.control(PR_SET_DUMPABLE, 1);
  sys.control(PR_SET_NO_NEW_PRIVS, 1);
  sys.setFilter(filter(architecture()));
}

/** Opening /dev/stdout requires ownership of the pipe behind it. */
export function giveOutputs(sys: Syscalls, uid: number, gid: number): void {
  for (const fd of OUTPUTS) sys.chown(fd, uid, gid);
}

/**
 * Drops capabilities from the bounding set, which belongs to this thread and is inherited by new threads and programs.
 * The other existing threads execute no programs.
 * @param kept the numbers of those that stay
 */
export function dropCapabilities(sys: Syscalls, kept: ReadonlySet<number> = new Set()): void {
  const last = Number(sys.read('/proc/sys/kernel/cap_last_cap').toString());
  for (let capability = 0; capability <= last; capability++)
    if (!kept.has(capability)) sys.control(PR_CAPBSET_DROP, capability);
}
