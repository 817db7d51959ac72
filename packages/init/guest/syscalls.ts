/**
 * The init changes the system only through this interface. The real implementation is below. Tests use a recorder and
 * compare the ordered trace of each boot path without a machine.
 */
import { getSystemErrorName } from 'node:util';
import {
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { architecture, NUMBERS } from './architecture.js';

export interface Syscalls {
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  ioctl(fd: number, request: number, argument: Buffer | number): void;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer): void;
  setsockopt(fd: number, level: number, name: number, value: Buffer): void;
  send(fd: number, bytes: Buffer, address: Buffer): void;
  /** @returns the number of bytes received, or -1 if nothing arrived within `timeout` milliseconds */
  receive(fd: number, bytes: Buffer, timeout: number): number;
  duplicate(from: number, to: number): void;
  setHostName(name: string): void;
  /** @param seconds since 1970 */
  setClock(seconds: number): void;
  /** Gives every thread another user. @param groups supplementary groups; default: the group itself */
  setIdentity(uid: number, gid: number, groups?: readonly number[]): void;
  /** Changes an attribute of the calling thread or of the process: prctl(2). */
  control(option: number, value: number): void;
  /** Permanently installs a system call filter for every thread. Only root can do it without no_new_privs. */
  setFilter(program: Buffer): void;
  /** Gives the calling thread namespaces of its own: CLONE_NEW… of linux/sched.h. */
  unshare(flags: number): void;
  chdir(path: string): void;
  /** Changes the root of the calling thread. */
  chroot(path: string): void;
  /** Replaces the process's program by Node.js; does not return. @param args including `argv[0]` */
  execute(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never;
  /**
   * Replaces the process's program by any other one, without what Node.js has changed: ignored signals, the limit of open
   * files, and descriptors that close. Does not return.
   * @param args including `argv[0]`
   */
  executeOther(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never;
  sleep(milliseconds: number): void;
  /** Microseconds since boot. */
  now(): number;
  /** Seconds since 1970. */
  clock(): number;

  /** Bytes that are in use on a filesystem. */
  usedBytes(path: string): number;
  open(path: string, flags: number): number;
  close(fd: number): void;
  /** Fills the bytes from that place on. @throws Error if the file ends before */
  readAt(fd: number, bytes: Buffer, offset: number): void;
  writeAt(fd: number, bytes: Buffer, offset: number): void;
  /** Waits until everything written to the file is on its disk. */
  sync(fd: number): void;
  /** The address of a Buffer's bytes, for structures that contain pointers. */
  addressOf(bytes: Buffer): number;
  chown(fd: number, uid: number, gid: number): void;
  print(fd: number, text: string): void;
  exists(path: string): boolean;
  list(path: string): string[];
  read(path: string): Buffer;
  /** The first line from a port, without its line feed; empty if the other side is not connected. */
  readLine(path: string): string;
  readLink(path: string): string;
  write(path: string, content: string): void;
  mkdir(path: string, mode: number): void;
  /** Removes a file, if it is there. */
  remove(path: string): void;
  symlink(target: string, path: string): void;
}

const POLLIN = 1;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
/**
 * SIGPIPE and SIGXFSZ, which Node.js ignores, and the signal with which musl changes the user of all threads. Programs
 * that are started in its place would go on ignoring them.
 */
const IGNORED = [13, 25, 34];
/** struct sigaction of the kernel: the default handler, no flags, no mask. */
const DEFAULT_ACTION = Buffer.alloc(32);
const RLIMIT_NOFILE = 7;
/** Without FD_CLOEXEC, which Node.js gives to all descriptors that it has inherited. */
const F_SETFD = 2;
/** The soft limit of open files that programs expect, as PID 1 sets it. Node.js raises it to the hard one. */
const OPEN_FILES = 1024n;

/** struct timespec of linux/time_types.h. */
function timeOf(seconds: number): Buffer {
  const time = Buffer.alloc(16);
  time.writeBigInt64LE(BigInt(Math.floor(seconds)), 0);
  time.writeBigInt64LE(BigInt(Math.floor((seconds % 1) * 1e9)), 8);
  return time;
}

/** The kernel refused a system call. */
export class SyscallError extends Error {
  readonly code: string;

  constructor(call: string, error: number) {
    const code = getSystemErrorName(error);
    super(`${call}: ${code}`);
    this.code = code;
  }
}

type Argument = number | string | Buffer | null;

interface Addon {
  (number: number, ...args: Argument[]): number;
  /** The address of a Buffer's bytes, for structures that contain pointers. */
  addressOf(bytes: Buffer): number;
}

export class LinuxSyscalls implements Syscalls {
  readonly #syscall: Addon;
  readonly #kept: Buffer[] = [];

  constructor(addon: string) {
    this.#syscall = createRequire('/')(addon) as Addon;
  }

  #call(name: keyof typeof NUMBERS, ...args: Argument[]): number {
    const result = this.#syscall(NUMBERS[name][architecture()], ...args);
    if (result < 0) throw new SyscallError(name, result);
    return result;
  }

  mount(source: string, target: string, type: string, flags: number, data: string): void {
    this.#call('mount', source, target, type, flags, data);
  }

  ioctl(fd: number, request: number, argument: Buffer | number): void {
    this.#call('ioctl', fd, request, argument);
  }

  socket(domain: number, type: number, protocol: number): number {
    return this.#call('socket', domain, type, protocol);
  }

  bind(fd: number, address: Buffer): void {
    this.#call('bind', fd, address, address.length);
  }

  setsockopt(fd: number, level: number, name: number, value: Buffer): void {
    this.#call('setsockopt', fd, level, name, value, value.length);
  }

  send(fd: number, bytes: Buffer, address: Buffer): void {
    this.#call('sendto', fd, bytes, bytes.length, 0, address, address.length);
  }

  receive(fd: number, bytes: Buffer, timeout: number): number {
    const poll = Buffer.alloc(8);
    poll.writeInt32LE(fd, 0);
    poll.writeInt16LE(POLLIN, 4);
    if (this.#call('ppoll', poll, 1, timeOf(Math.max(0, timeout) / 1000), null, 0) === 0) return -1;
    return this.#call('recvfrom', fd, bytes, bytes.length, 0, null, null);
  }

  duplicate(from: number, to: number): void {
    this.#call('dup3', from, to, 0);
  }

  setHostName(name: string): void {
    this.#call('sethostname', name, Buffer.byteLength(name));
  }

  setClock(seconds: number): void {
    this.#call('clock_settime', 0, timeOf(seconds));
  }

  setIdentity(uid: number, gid: number, groups: readonly number[] = [gid]): void {
    // These are the C library's calls. The kernel's calls would change only the calling thread.
    process.setgroups?.([...groups]);
    process.setgid?.(gid);
    process.setuid?.(uid);
  }

  control(option: number, value: number): void {
    this.#call('prctl', option, value, 0, 0, 0);
  }

  setFilter(program: Buffer): void {
    // struct sock_fprog of linux/filter.h: the number of 8-byte instructions, and their address.
    const described = Buffer.alloc(16);
    described.writeUInt16LE(program.length / 8, 0);
    described.writeBigUInt64LE(BigInt(this.#syscall.addressOf(program)), 8);
    // If a thread cannot be synchronised, the result is its id.
    const thread = this.#call('seccomp', SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, described);
    if (thread > 0) throw new Error(`seccomp: thread ${thread} has a filter of its own`);
  }

  unshare(flags: number): void {
    this.#call('unshare', flags);
  }

  chdir(path: string): void {
    process.chdir(path);
  }

  chroot(path: string): void {
    this.#call('chroot', path);
  }

  execute(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never {
    const { execve } = process as unknown as { execve: (...args: unknown[]) => never };
    return execve.call(process, path, [...args], { ...environment });
  }

  executeOther(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never {
    for (const fd of [0, 1, 2]) this.#call('fcntl', fd, F_SETFD, 0);
    for (const signal of IGNORED) this.#call('rt_sigaction', signal, DEFAULT_ACTION, null, 8);
    const files = Buffer.alloc(16);
    this.#call('prlimit64', 0, RLIMIT_NOFILE, null, files);
    files.writeBigUInt64LE(OPEN_FILES, 0);
    this.#call('prlimit64', 0, RLIMIT_NOFILE, files, null);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    this.#call('execve', path, this.#texts(args), this.#texts(variables));
    throw new Error('execve returned');
  }

  /** An array of pointers to texts, with NULL at its end. The texts stay where they are as long as this object. */
  #texts(texts: readonly string[]): Buffer {
    const pointers = Buffer.alloc(8 * (texts.length + 1));
    for (const [index, text] of texts.entries()) {
      const bytes = Buffer.from(`${text}\0`);
      this.#kept.push(bytes);
      pointers.writeBigUInt64LE(BigInt(this.addressOf(bytes)), 8 * index);
    }
    return pointers;
  }

  sleep(milliseconds: number): void {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
  }

  now(): number {
    return Number(process.hrtime.bigint() / 1000n);
  }

  clock(): number {
    return Math.floor(Date.now() / 1000);
  }

  usedBytes(path: string): number {
    const { bsize, blocks, bfree } = statfsSync(path);
    return bsize * (blocks - bfree);
  }

  open(path: string, flags: number): number {
    return openSync(path, flags);
  }

  close(fd: number): void {
    closeSync(fd);
  }

  readAt(fd: number, bytes: Buffer, offset: number): void {
    const count = readSync(fd, bytes, 0, bytes.length, offset);
    if (count < bytes.length) throw new Error(`${count} of ${bytes.length} bytes at ${offset}`);
  }

  writeAt(fd: number, bytes: Buffer, offset: number): void {
    const count = writeSync(fd, bytes, 0, bytes.length, offset);
    if (count < bytes.length) throw new Error(`${count} of ${bytes.length} bytes written at ${offset}`);
  }

  sync(fd: number): void {
    fsyncSync(fd);
  }

  addressOf(bytes: Buffer): number {
    return this.#syscall.addressOf(bytes);
  }

  chown(fd: number, uid: number, gid: number): void {
    fchownSync(fd, uid, gid);
  }

  print(fd: number, text: string): void {
    writeSync(fd, text);
  }

  exists(path: string): boolean {
    return existsSync(path);
  }

  list(path: string): string[] {
    return readdirSync(path).sort();
  }

  read(path: string): Buffer {
    return readFileSync(path);
  }

  readLink(path: string): string {
    return readlinkSync(path);
  }

  readLine(path: string): string {
    const fd = openSync(path, 'r');
    const bytes = Buffer.alloc(64 << 10);
    const parts: string[] = [];
    for (let size = readSync(fd, bytes); size > 0; size = readSync(fd, bytes)) {
      parts.push(bytes.toString('latin1', 0, size));
      if (bytes.subarray(0, size).includes(10)) break;
    }
    closeSync(fd);
    return Buffer.from(parts.join('').split('\n')[0] ?? '', 'latin1').toString();
  }

  write(path: string, content: string): void {
    writeFileSync(path, content);
  }

  mkdir(path: string, mode: number): void {
    mkdirSync(path, { recursive: true, mode });
  }

  remove(path: string): void {
    rmSync(path, { force: true });
  }

  symlink(target: string, path: string): void {
    symlinkSync(target, path);
  }
}
