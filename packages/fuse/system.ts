/**
 * System calls that Node.js does not offer: mount, umount2, poll, eventfd, and reads that do not throw. They are called
 * through koffi, whose npm packages bring binaries for glibc and musl. It is loaded with the first mount.
 * https://man7.org/linux/man-pages/man2/mount.2.html, https://man7.org/linux/man-pages/man2/umount.2.html
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { failure } from '@nodeos/block';

export interface System {
  /** @throws Error with a `code` */
  mount(what: { source: string; folder: string; type: string; flags: number; data: string }): void;
  /** Waits for what is still to be written, so not on this thread. @throws Error with a `code` */
  unmount(folder: string): Promise<void>;
  /** Takes a mount out of the tree at once; who uses it still has it. @throws Error with a `code` */
  detach(folder: string): void;
  /** @returns bytes, or the negative number of an error. */
  read(fd: number, into: Uint8Array): number;
  /** Waits for something to read from one of two descriptors, on a thread of the pool. */
  whenReadable(first: number, second: number): Promise<void>;
  /** A descriptor that can be read from when somebody has written 8 bytes to it. */
  eventDescriptor(): number;
  /** Two sockets, each of which is the other's peer. */
  socketPair(): [number, number];
  /** Waits for a descriptor from the peer. @returns undefined if it has closed its end without one */
  receiveDescriptor(socket: number): Promise<number | undefined>;
}

export const FLAGS = { readOnly: 1, noSuid: 2, noDevices: 4, noAccessTimes: 1024 } as const;
const DETACH = 2;
const POLLIN = 1;
/** EFD_CLOEXEC, SOCK_CLOEXEC */
const CLOSE_ON_EXEC = 0o2000000;
const [AF_UNIX, SOCK_STREAM, SOL_SOCKET, SCM_RIGHTS, MSG_CMSG_CLOEXEC] = [1, 1, 1, 1, 0x40000000] as const;
const [F_SETFL, O_RDWR, O_NONBLOCK] = [4, 2, 0o4000] as const;
/** A function of the C library, and the same on a thread of the pool. */
type Call = ((...args: unknown[]) => number) & {
  readonly async: (...args: unknown[]) => void;
};

/** Little-endian machines on which these numbers are right. */
const KNOWN = new Set(['x64', 'arm64', 'riscv64', 'loong64']);

let loaded: Promise<System> | undefined;

/** The calls, loaded once. @throws Error with the code ENOTSUP on other systems, or without koffi */
export const loadSystem = (): Promise<System> => (loaded ??= load());

async function load(): Promise<System> {
  if (process.platform !== 'linux' || !KNOWN.has(process.arch))
    throw failure('ENOTSUP', `FUSE is a part of Linux, and known here on ${[...KNOWN].join(', ')}`);
  const { default: koffi } = await import('koffi').catch((error: unknown) => {
    throw failure('ENOTSUP', 'the package koffi is not here, or has no binary for this machine', error);
  });
  const libc = koffi.load(null);
  const call = (prototype: string): Call => libc.func(prototype);
  const mount = call(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  );
  const umount2 = call('int umount2(const char *target, int flags)');
  const read = call('int64_t read(int fd, _Out_ void *into, uint64_t length)');
  const poll = call('int poll(void *descriptors, unsigned long count, int timeout)');
  const eventfd = call('int eventfd(unsigned int start, int flags)');
  const socketpair = call('int socketpair(int domain, int type, int protocol, _Out_ int *pair)');
  const fcntl = call('int fcntl(int fd, int command, int value)');
  // struct msghdr of recvmsg(2); the lengths have 4 bytes with musl, and 4 unused ones.
  const iovec = koffi.struct({ base: 'void *', length: 'uint64_t' });
  const msghdr = koffi.struct({
    ...{ name: 'void *', nameLength: 'uint64_t', data: koffi.pointer(iovec), count: 'uint64_t' },
    ...{ control: 'void *', controlLength: 'uint64_t', flags: 'int' },
  });
  const recvmsg = libc.func('recvmsg', 'int64_t', ['int', koffi.pointer(msghdr), 'int']) as unknown as Call;
  const check = (call: string, result: number): void => {
    if (result < 0) throw systemError(call, koffi.errno());
  };
  const later = (call: Call, ...args: unknown[]): Promise<number> =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)));
    });
  return {
    mount: ({ source, folder, type, flags, data }) => check('mount', mount(source, folder, type, flags, data)),
    async unmount(folder) {
      // The number of the error belongs to the other thread. A second call gives it here, and finds nothing to wait for.
      if ((await later(umount2, folder, 0)) < 0) check('umount2', umount2(folder, 0));
    },
    detach: (folder) => check('umount2', umount2(folder, DETACH)),
    read(fd, into) {
      const length = read(fd, into, into.length);
      return length < 0 ? -koffi.errno() : length;
    },
    async whenReadable(first, second) {
      // struct pollfd: a descriptor of 4 bytes, 2 bytes of events, 2 bytes of answers
      const descriptors = Buffer.alloc(16);
      for (const [index, fd] of [first, second].entries()) {
        descriptors.writeInt32LE(fd, index * 8);
        descriptors.writeInt16LE(POLLIN, index * 8 + 4);
      }
      await later(poll, descriptors, 2, -1);
    },
    eventDescriptor() {
      const fd = eventfd(0, CLOSE_ON_EXEC);
      check('eventfd', fd);
      return fd;
    },
    socketPair() {
      const pair = new Int32Array(2);
      check('socketpair', socketpair(AF_UNIX, SOCK_STREAM | CLOSE_ON_EXEC, 0, pair));
      return [...pair] as [number, number];
    },
    async receiveDescriptor(socket) {
      // struct cmsghdr: a length of 8 bytes (of 4 and 4 unused ones with musl), 4 bytes each of level and kind, the descriptor
      const control = Buffer.alloc(24);
      const data = { base: Buffer.alloc(1), length: 1 };
      const header = {
        name: null,
        nameLength: 0,
        data: [data],
        count: 1,
        control,
        controlLength: control.length,
        flags: 0,
      };
      const length = await later(recvmsg, socket, header, MSG_CMSG_CLOEXEC);
      const isDescriptor = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS;
      if (length <= 0 || !isDescriptor) return undefined;
      const fd = control.readInt32LE(16);
      check('fcntl', fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK));
      return fd;
    },
  };
}

function systemError(call: string, errno: number): Error {
  const code = getSystemErrorName(-errno);
  return failure(code, `${code}: ${call}`);
}

export const { ENODEV, EAGAIN, EINTR, ENOENT, EIO, ENOSYS } = constants.errno;
