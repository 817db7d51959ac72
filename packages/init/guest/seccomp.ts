/**
 * The filter for system calls that an application does not need: a classic BPF program, generated from a table. The
 * table contains the calls that container runtimes deny by default. Calls newer than the table are denied too, because
 * nobody has reviewed them.
 *
 * https://docs.kernel.org/userspace-api/seccomp_filter.html,
 * https://www.kernel.org/doc/Documentation/networking/filter.txt
 * Numbers: arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl in the kernel's source.
 */
import type { Architecture } from './architecture.js';

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

/** The call does not exist on this architecture. */
const NONE = -1;

interface Denied {
  readonly reason: string;
  /** The error that the call returns. ENOSYS makes programs fall back to another call. */
  readonly error: number;
  /** Numbers by name: x86_64, aarch64. */
  readonly calls: Readonly<Record<string, readonly [number, number]>>;
}

export const DENIED: readonly Denied[] = [
  {
    reason: 'mounts',
    error: EPERM,
    calls: {
      mount: [165, 40],
      umount2: [166, 39],
      pivot_root: [155, 41],
      open_tree: [428, 428],
      move_mount: [429, 429],
      fsopen: [430, 430],
      fsconfig: [431, 431],
      fsmount: [432, 432],
      fspick: [433, 433],
      mount_setattr: [442, 442],
      quotactl: [179, 60],
      quotactl_fd: [443, 443],
      swapon: [167, 224],
      swapoff: [168, 225],
    },
  },
  {
    reason: 'files past their paths, and the eyes on all of a filesystem',
    error: EPERM,
    calls: {
      open_by_handle_at: [304, 265],
      fanotify_init: [300, 262],
    },
  },
  {
    reason: 'namespaces, in which a user is root',
    error: EPERM,
    calls: { unshare: [272, 97], setns: [308, 268] },
  },
  {
    // Its flags are in memory, which a filter cannot read. C libraries then fall back to clone.
    reason: 'the same',
    error: ENOSYS,
    calls: { clone3: [435, 435] },
  },
  {
    reason: 'code for the kernel to run',
    error: EPERM,
    calls: {
      init_module: [175, 105],
      finit_module: [313, 273],
      delete_module: [176, 106],
      kexec_load: [246, 104],
      kexec_file_load: [320, 294],
      bpf: [321, 280],
    },
  },
  {
    reason: 'parts of the kernel with a long record of faults',
    error: ENOSYS,
    calls: {
      io_uring_setup: [425, 425],
      io_uring_enter: [426, 426],
      io_uring_register: [427, 427],
    },
  },
  {
    reason: 'the same',
    error: EPERM,
    calls: {
      perf_event_open: [298, 241],
      userfaultfd: [323, 282],
      add_key: [248, 217],
      request_key: [249, 218],
      keyctl: [250, 219],
    },
  },
  {
    reason: 'other processes',
    error: EPERM,
    calls: {
      kcmp: [312, 272],
      pidfd_getfd: [438, 438],
      process_madvise: [440, 440],
      move_pages: [279, 239],
      migrate_pages: [256, 238],
    },
  },
  {
    reason: 'the machine: its clock, its name, its end, its ports, its log',
    error: EPERM,
    calls: {
      settimeofday: [164, 170],
      clock_settime: [227, 112],
      sethostname: [170, 161],
      setdomainname: [171, 162],
      reboot: [169, 142],
      acct: [163, 89],
      iopl: [172, NONE],
      ioperm: [173, NONE],
      syslog: [103, 116],
      vhangup: [153, 58],
    },
  },
  {
    reason: 'what nobody needs any more',
    error: ENOSYS,
    calls: {
      modify_ldt: [154, NONE],
      uselib: [134, NONE],
      ustat: [136, NONE],
      sysfs: [139, NONE],
      lookup_dcookie: [212, 18],
    },
  },
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h. */
const NEW_NAMESPACES = 0x7e020000;
/** AF_UNIX, AF_INET, AF_INET6, and AF_NETLINK, which lists network interfaces. */
export const FAMILIES: readonly number[] = [1, 2, 10, 16];

interface Abi {
  /** An AUDIT_ARCH_ constant of linux/audit.h. */
  readonly audit: number;
  readonly column: 0 | 1;
  readonly clone: number;
  readonly socket: number;
  /** The last call of Linux 6.12, mseal. The calls of x32 are above it, because their numbers have bit 30 set. */
  readonly last: number;
}

export const ABIS: Readonly<Record<Architecture, Abi>> = {
  x86_64: { audit: 0xc000003e, column: 0, clone: 56, socket: 41, last: 462 },
  aarch64: { audit: 0xc00000b7, column: 1, clone: 220, socket: 198, last: 462 },
};

/** Instructions of linux/bpf_common.h. */
const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_ANY_BIT = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

/** Results of linux/seccomp.h. */
const KILL_PROCESS = 0x80000000;
const ERRNO = 0x00050000;
const ALLOW = 0x7fff0000;

/** Offsets in struct seccomp_data of linux/seccomp.h. Of an argument, only the low half is read (little-endian). */
const NUMBER = 0;
const ARCHITECTURE = 4;
const ARGUMENT_0 = 16;

/** Code, instructions to skip if true, instructions to skip if false, constant. */
type Instruction = readonly [number, number, number, number];

const load = (offset: number): Instruction => [LOAD, 0, 0, offset];
const returns = (action: number): Instruction => [RETURN, 0, 0, action];
const deny = (error: number): Instruction => returns(ERRNO | error);

export function instructions(architecture: Architecture, families = FAMILIES): Instruction[] {
  const { audit, column, clone, socket, last } = ABIS[architecture];
  return [
    load(ARCHITECTURE),
    [JUMP_EQUAL, 1, 0, audit],
    returns(KILL_PROCESS),
    load(NUMBER),
    [JUMP_GREATER, 0, 1, last],
    deny(ENOSYS),
    ...DENIED.flatMap(({ error, calls }) =>
      Object.values(calls)
        .map((numbers) => numbers[column])
        .filter((number) => number !== NONE)
        .flatMap((number): Instruction[] => [[JUMP_EQUAL, 0, 1, number], deny(error)]),
    ),
    [JUMP_EQUAL, 0, 4, clone],
    load(ARGUMENT_0),
    [JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES],
    deny(EPERM),
    returns(ALLOW),
    [JUMP_EQUAL, 0, families.length + 2, socket],
    load(ARGUMENT_0),
    ...families.map((family, index): Instruction => [JUMP_EQUAL, families.length - index, 0, family]),
    deny(EAFNOSUPPORT),
    returns(ALLOW),
  ];
}

/**
 * Encodes the filter as the kernel expects it: struct sock_filter of linux/filter.h.
 * @param families the families of sockets that are allowed
 */
export function filter(architecture: Architecture, families = FAMILIES): Buffer {
  const program = instructions(architecture, families);
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, holds, holdsNot, constant]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(holds, index * 8 + 2);
    bytes.writeUInt8(holdsNot, index * 8 + 3);
    bytes.writeUInt32LE(constant >>> 0, index * 8 + 4);
  }
  return bytes;
}
