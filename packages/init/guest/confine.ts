/**
 * What a program that is not root gives up for good, and all that it starts. Bounded by the machine: memory and processes
 * (pid1/group.c), files (mounts.ts); settings for all are in boot.ts.
 */
import { APP_ID } from '@nodeos/contract';
import { filter } from './seccomp.js';
import type { Syscalls } from './syscalls.js';

const OUTPUTS = [1, 2];

/** linux/prctl.h */
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;

/** @throws Error if anything of it fails: then the program must not run. */
export function confine(sys: Syscalls): void {
  // Opening /dev/stdout asks whether the pipe behind it is one's own.
  for (const fd of OUTPUTS) sys.own(fd, APP_ID, APP_ID);
  // Of this thread, hence of all that are started, and of every program: the others that are there execute nothing.
  const last = Number(sys.read('/proc/sys/kernel/cap_last_cap').toString());
  for (let capability = 0; capability <= last; capability++) sys.control(PR_CAPBSET_DROP, capability);
  sys.setIdentity(APP_ID, APP_ID);
  // Giving up root has handed /proc/self to root. What is in this process's memory is the application's own.
  sys.control(PR_SET_DUMPABLE, 1);
  sys.judge(filter('x86_64'));
}
