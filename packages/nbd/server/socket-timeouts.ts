/**
 * Timeouts for blocking reads and writes of a socket: setsockopt with SO_RCVTIMEO and SO_SNDTIMEO, which Node.js does
 * not offer. It is called through koffi, an optional dependency. Without koffi, no thread ever blocks on a socket.
 * https://man7.org/linux/man-pages/man7/socket.7.html
 */

/** @throws Error if the kernel refuses */
export type SetTimeouts = (fd: number, milliseconds: number) => void;

const [SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO] = [1, 20, 21] as const;
/** Architectures where these numbers are right, and `struct timeval` has two 64-bit fields. */
const KNOWN = new Set(['x64', 'arm64', 'riscv64', 'loong64', 's390x']);

let loaded: Promise<SetTimeouts | undefined> | undefined;

/** The call, loaded once; undefined if it is not available. */
export function loadSetTimeouts(): Promise<SetTimeouts | undefined> {
  return (loaded ??= load().catch(() => undefined));
}

async function load(): Promise<SetTimeouts | undefined> {
  if (process.platform !== 'linux' || !KNOWN.has(process.arch)) return undefined;
  const { default: koffi } = await import('koffi');
  const setsockopt = koffi
    .load(null)
    .func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ) => number;
  return (fd, milliseconds) => {
    const time = new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1000)]);
    const bytes = new Uint8Array(time.buffer);
    for (const name of [SO_RCVTIMEO, SO_SNDTIMEO])
      if (setsockopt(fd, SOL_SOCKET, name, bytes, bytes.length) !== 0)
        throw new Error(`setsockopt ${name} of descriptor ${fd}: error ${koffi.errno()}`);
  };
}
