/**
 * DHCP messages, bytes to objects and back. RFC 2131 (protocol), RFC 2132 (options).
 * Leaves out: options longer than 255 bytes (RFC 3396), and `sname`/`file` used for options: no server needs them.
 */
import { isIPv4 } from 'node:net';

export const DISCOVER = 1;
export const OFFER = 2;
export const REQUEST = 3;
export const ACK = 5;
export const NAK = 6;

const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const ETHERNET = 1;
const BROADCAST_FLAG = 0x8000;
const MAGIC_COOKIE = 0x63825363;
const OPTIONS_AT = 240;
/** Servers and relays may drop shorter messages (RFC 1542, section 2.1). */
const MINIMUM = 300;

const OPTION = {
  mask: 1,
  router: 3,
  dns: 6,
  hostName: 12,
  domain: 15,
  mtu: 26,
  address: 50,
  lease: 51,
  type: 53,
  server: 54,
  wanted: 55,
  renewal: 58,
  clientId: 61,
} as const;

export interface Query {
  readonly type: typeof DISCOVER | typeof REQUEST;
  readonly transaction: number;
  /** The interface's six bytes. */
  readonly mac: Buffer;
  /** Seconds since the client began. */
  readonly seconds: number;
  readonly hostName: string;
  /** The address that the client has and wants to keep: then the server answers to it (RENEWING). */
  readonly current?: string;
  /** The address that was offered. */
  readonly requested?: string;
  readonly server?: string;
}

export interface Reply {
  readonly type: number;
  readonly address: string;
  readonly mask: string;
  readonly router?: string;
  readonly dns: readonly string[];
  readonly domain?: string;
  readonly hostName?: string;
  readonly mtu?: number;
  readonly server?: string;
  /** Seconds. */
  readonly lease: number;
  /** Seconds after which to renew (T1). */
  readonly renewal: number;
}

export function encodeQuery(query: Query): Buffer {
  const bytes = Buffer.alloc(548);
  bytes[0] = BOOTREQUEST;
  bytes[1] = ETHERNET;
  bytes[2] = query.mac.length;
  bytes.writeUInt32BE(query.transaction >>> 0, 4);
  bytes.writeUInt16BE(Math.min(query.seconds, 0xffff), 8);
  // Without an address of its own the client cannot be reached but by broadcast.
  if (query.current === undefined) bytes.writeUInt16BE(BROADCAST_FLAG, 10);
  else addressBytes(query.current).copy(bytes, 12);
  query.mac.copy(bytes, 28);
  bytes.writeUInt32BE(MAGIC_COOKIE, 236);
  let at = OPTIONS_AT;
  const option = (code: number, value: Buffer): void => {
    bytes[at] = code;
    bytes[at + 1] = value.length;
    value.copy(bytes, at + 2);
    at += 2 + value.length;
  };
  option(OPTION.type, Buffer.from([query.type]));
  option(OPTION.clientId, Buffer.concat([Buffer.from([ETHERNET]), query.mac]));
  if (query.requested !== undefined) option(OPTION.address, addressBytes(query.requested));
  if (query.server !== undefined) option(OPTION.server, addressBytes(query.server));
  if (query.hostName !== '') option(OPTION.hostName, Buffer.from(query.hostName).subarray(0, 63));
  option(OPTION.wanted, Buffer.from([1, 3, 6, 12, 15, 26, 51, 54, 58]));
  bytes[at++] = 255;
  return bytes.subarray(0, Math.max(at, MINIMUM));
}

/** @returns undefined for anything that is not a well-formed answer to this client's transaction. */
export function decodeReply(bytes: Buffer, query: Pick<Query, 'transaction' | 'mac'>): Reply | undefined {
  if (bytes.length < OPTIONS_AT || bytes[0] !== BOOTREPLY || bytes.readUInt32BE(236) !== MAGIC_COOKIE) return undefined;
  if (bytes.readUInt32BE(4) !== query.transaction >>> 0) return undefined;
  if (!bytes.subarray(28, 28 + query.mac.length).equals(query.mac)) return undefined;
  const options = decodeOptions(bytes.subarray(OPTIONS_AT));
  const type = options.get(OPTION.type)?.[0];
  if (type === undefined) return undefined;
  const addresses = (code: number): string[] => addressesIn(options.get(code));
  const text = (code: number): string | undefined => hostText(options.get(code));
  const seconds = (code: number): number | undefined => uint(options.get(code), 4);
  const lease = seconds(OPTION.lease) ?? 3600;
  const [router] = addresses(OPTION.router);
  const [server] = addresses(OPTION.server);
  const domain = text(OPTION.domain);
  const hostName = text(OPTION.hostName);
  const mtu = uint(options.get(OPTION.mtu), 2);
  return {
    type,
    address: addressText(bytes.subarray(16, 20)),
    mask: addresses(OPTION.mask)[0] ?? '255.255.255.0',
    dns: addresses(OPTION.dns),
    lease,
    renewal: Math.min(seconds(OPTION.renewal) ?? lease / 2, lease),
    ...(router === undefined ? {} : { router }),
    ...(server === undefined ? {} : { server }),
    ...(domain === undefined ? {} : { domain }),
    ...(hostName === undefined ? {} : { hostName }),
    // 576 is the smallest that IPv4 allows a host to assume (RFC 1122)
    ...(mtu === undefined || mtu < 576 ? {} : { mtu }),
  };
}

function decodeOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length;) {
    const code = bytes[at] ?? 255;
    if (code === 255) break;
    if (code === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 2 + length > bytes.length) break;
    options.set(code, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

const uint = (value: Buffer | undefined, size: number): number | undefined =>
  value?.length === size ? value.readUIntBE(0, size) : undefined;

/** Names end up in files and on the console: only what a host name may have. */
function hostText(value: Buffer | undefined): string | undefined {
  const text = value?.toString('latin1').replace(/\0+$/, '') ?? '';
  return /^[A-Za-z0-9.-]{1,253}$/.test(text) ? text : undefined;
}

function addressesIn(value: Buffer | undefined): string[] {
  if (!value) return [];
  const count = Math.floor(value.length / 4);
  return Array.from({ length: count }, (_, index) => addressText(value.subarray(index * 4, index * 4 + 4)));
}

export const addressText = (bytes: Buffer): string => bytes.join('.');

/** @throws RangeError if it is not an IPv4 address. */
export function addressBytes(text: string): Buffer {
  if (!isIPv4(text)) throw new RangeError(`not an IPv4 address: ${text}`);
  return Buffer.from(text.split('.').map(Number));
}
