/**
 * What differs between the architectures that the init runs on: numbers of system calls.
 * arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl in the kernel's source.
 */

export type Architecture = 'x86_64' | 'aarch64';

/** The architectures by the values of `process.arch`. */
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, Architecture>>> = { x64: 'x86_64', arm64: 'aarch64' };

/** The architecture of this machine. @throws Error if the init does not know it */
export function architecture(): Architecture {
  const found = ARCHITECTURES[process.arch];
  if (found) return found;
  throw new Error(`the init knows no system calls of ${process.arch}`);
}

/** The calls that the init makes. Each of them is there on all architectures. */
export const NUMBERS = {
  ioctl: { x86_64: 16, aarch64: 29 },
  socket: { x86_64: 41, aarch64: 198 },
  sendto: { x86_64: 44, aarch64: 206 },
  recvfrom: { x86_64: 45, aarch64: 207 },
  bind: { x86_64: 49, aarch64: 200 },
  setsockopt: { x86_64: 54, aarch64: 208 },
  fcntl: { x86_64: 72, aarch64: 25 },
  execve: { x86_64: 59, aarch64: 221 },
  rt_sigaction: { x86_64: 13, aarch64: 134 },
  chroot: { x86_64: 161, aarch64: 51 },
  unshare: { x86_64: 272, aarch64: 97 },
  prlimit64: { x86_64: 302, aarch64: 261 },
  prctl: { x86_64: 157, aarch64: 167 },
  mount: { x86_64: 165, aarch64: 40 },
  sethostname: { x86_64: 170, aarch64: 161 },
  clock_settime: { x86_64: 227, aarch64: 112 },
  ppoll: { x86_64: 271, aarch64: 73 },
  dup3: { x86_64: 292, aarch64: 24 },
  seccomp: { x86_64: 317, aarch64: 277 },
} as const satisfies Readonly<Record<string, Readonly<Record<Architecture, number>>>>;
