/**
 * Asks a time server, and encodes and decodes its messages. RFC 5905 (NTP 4), section 14 and RFC 4330 (SNTP 4). The
 * request says nothing about this machine: its transmit timestamp is random, and only marks the answer.
 */
import { socketAddress } from './lease.js';
import type { Syscalls } from './syscalls.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const PORT = 123;
const SIZE = 48;
const VERSION = 4;
const [CLIENT, SERVER] = [3, 4];
const NOT_SYNCHRONISED = 3;
/** Strata from 1 to 15 have the time; 0 is a refusal, and its reference id says why. */
const LAST_STRATUM = 15;
const TIMEOUT_MS = 1000;
/** Seconds from 1900, where NTP's time begins, to 1970. */
const EPOCH = 2_208_988_800;
/** Seconds after which NTP's 32-bit counter begins again: an era. */
const ERA = 2 ** 32;
/** Seconds, 50 years: a server with a later time is wrong. */
const LATEST = 50 * 365.25 * 86400;

/** What a server said: times in seconds since 1970. */
export interface Answer {
  /** When the server received the request, and when it answered. */
  readonly received: number;
  readonly sent: number;
}

/** A request. @param nonce 8 bytes that the server repeats */
export function encodeRequest(nonce: Buffer): Buffer {
  const bytes = Buffer.alloc(SIZE);
  bytes[0] = (VERSION << 3) | CLIENT;
  nonce.copy(bytes, 40);
  return bytes;
}

/**
 * @param earliest seconds since 1970 that the time cannot be before; it decides the era
 * @returns undefined for what is no answer to the request; a reason if the server does not tell the time
 */
export function decodeReply(bytes: Buffer, nonce: Buffer, earliest: number): Answer | string | undefined {
  if (bytes.length < SIZE || !bytes.subarray(24, 32).equals(nonce)) return undefined;
  const [first = 0, stratum = 0] = bytes;
  if ((first & 7) !== SERVER) return undefined;
  if (stratum === 0) return `it refuses (${bytes.toString('latin1', 12, 16).replace(/[^A-Z]/g, '')})`;
  if (stratum > LAST_STRATUM || first >> 6 === NOT_SYNCHRONISED) return 'its own clock is not set';
  if (bytes.readBigUInt64BE(40) === 0n) return 'it says no time';
  const [received, sent] = [timeAt(bytes, 32, earliest), timeAt(bytes, 40, earliest)];
  if (sent > earliest + LATEST) return `it says ${new Date(sent * 1000).toISOString()}`;
  return sent < received ? 'it answers before it is asked' : { received, sent };
}

/** A timestamp in seconds since 1970: the first one with these bits that is not before `earliest`. */
function timeAt(bytes: Buffer, offset: number, earliest: number): number {
  const seconds = bytes.readUInt32BE(offset) - EPOCH;
  const era = Math.max(0, Math.ceil((earliest - seconds) / ERA));
  return seconds + era * ERA + bytes.readUInt32BE(offset + 4) / ERA;
}

/**
 * Asks a server for the time, and waits for at most a second.
 * @param address an IPv4 address
 * @returns seconds since 1970 at the return of this function
 * @throws Error saying why there is no time
 */
export function askTime(sys: Syscalls, address: string, earliest: number): number {
  // Loaded on demand, because loading takes time.
  const nonce = process.getBuiltinModule('node:crypto').randomBytes(8);
  const fd = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    const asked = sys.now();
    sys.send(fd, encodeRequest(nonce), socketAddress(address, PORT));
    const deadline = asked + TIMEOUT_MS * 1000;
    for (let left = TIMEOUT_MS; left > 0; left = (deadline - sys.now()) / 1000) {
      const bytes = Buffer.alloc(256);
      const size = sys.receive(fd, bytes, left);
      if (size < 0) break;
      const answer = decodeReply(bytes.subarray(0, size), nonce, earliest);
      if (typeof answer === 'string') throw new Error(answer);
      if (answer) return answer.sent + travelOf(answer, (sys.now() - asked) / 1e6);
    }
    throw new Error(`no answer in ${TIMEOUT_MS / 1000} s`);
  } finally {
    sys.close(fd);
  }
}

/** Half of the time that both messages were on their way, in seconds. */
const travelOf = ({ received, sent }: Answer, total: number): number => Math.max(0, total - (sent - received)) / 2;
