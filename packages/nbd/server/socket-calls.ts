/**
 * System calls on a socket that Node.js does not offer: setsockopt with SO_RCVTIMEO and SO_SNDTIMEO, and recv with
 * MSG_DONTWAIT. They are called through koffi, an optional dependency. Without koffi, no thread ever blocks on a socket.
 * https://man7.org/linux/man-pages/man7/socket.7.html, https://man7.org/linux/man-pages/man2/recv.2.html
 */

export interface SocketCalls {
  /**
   * Timeouts of blocking reads and writes.
   *
   * @throws Error if the kernel refuses
   */
  readonly setTimeouts: (fd: number, milliseconds: number) => void;
  /** Takes what has arrived, without waiting. @returns number of bytes; 0 at the end; negative for nothing or an error */
  readonly receive: (fd: number, into: Uint8Array) => number;
}

const [SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO, MSG_DONTWAIT] = [1, 20, 21, 0x40] as const;
/** Architectures where these numbers are right, and `struct timeval` has two 64-bit fields. */
const KNOWN = new Set(['x64', 'arm64', 'riscv64', 'loong64', 's390x']);

let loaded: Promise<SocketCalls | undefined> | undefined;

/** The calls, loaded once per thread; undefined if they are not available. */
export function loadSocketCalls(): Promise<SocketCalls | undefined> {
  return (loaded ??= load().catch(() => undefined));
}

async function load(): Promise<SocketCalls | undefined> {
  if (process.platform !== 'linux' || !KNOWN.has(process.arch)) return undefined;
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ) => number;
  const recv = libc.func('int64_t recv(int fd, void *into, uint64_t length, int flags)') as (
    fd: number,
    into: Uint8Array,
    length: number,
    flags: number,
  ) => number;
  return {
    setTimeouts(fd, milliseconds) {
      const time = new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1000)]);
      const bytes = new Uint8Array(time.buffer);
      for (const name of [SO_RCVTIMEO, SO_SNDTIMEO])
        if (setsockopt(fd, SOL_SOCKET, name, bytes, bytes.length) !== 0)
          throw new Error(`setsockopt ${name} of descriptor ${fd}: error ${koffi.errno()}`);
    },
    receive: (fd, into) => recv(fd, into, into.length, MSG_DONTWAIT),
  };
}
