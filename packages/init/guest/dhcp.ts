/**
 * Encodes and decodes DHCP messages. RFC 2131 (protocol), RFC 2132 (options), RFC 3396 (split options), RFC 3442
 * (routes). Options in `sname` and `file` are not supported; no server needs them.
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
/** Minimum message length. Servers and relays may drop shorter messages (RFC 1542, section 2.1). */
const MINIMUM = 300;

const OPTION = {
  mask: 1,
  router: 3,
  dns: 6,
  hostName: 12, // only sent; the machine already has a name
  domain: 15,
  mtu: 26,
  address: 50,
  lease: 51,
  type: 53,
  server: 54,
  wanted: 55,
  renewal: 58,
  clientId: 61,
  routes: 121,
} as const;

/** Requested options. Routes come before the router, which is ignored if there are routes (RFC 3442). */
const WANTED = [1, OPTION.routes, OPTION.router, 6, 15, 26, 51, 54, 58];

/** The smallest MTU that IPv4 allows a host to assume is 576 (RFC 1122). */
const MIN_MTU = 576;
/** Longer lists are unrealistic and are cut. */
const MAX_SERVERS = 16;
const MAX_ROUTES = 64;

export interface Query {
  readonly type: typeof DISCOVER | typeof REQUEST;
  readonly transaction: number;
  /** The interface's MAC address, 6 bytes. */
  readonly mac: Buffer;
  /** Seconds since the client started. */
  readonly seconds: number;
  readonly hostName: string;
  /** The address that the client already has and wants to keep. The server then replies to it directly (RENEWING). */
  readonly current?: string;
  /** The address that was offered. */
  readonly requested?: string;
  readonly server?: string;
}

export interface Route {
  readonly destination: string;
  /** Prefix length in bits; 0 is the default route. */
  readonly prefix: number;
  /** Undefined if the destination is on the link. */
  readonly gateway?: string;
}

export interface Reply {
  readonly type: number;
  readonly address: string;
  readonly mask: string;
  /** The routes of option 121; without that option, the default route to the router. */
  readonly routes?: readonly Route[];
  readonly dns: readonly string[];
  readonly domain?: string;
  readonly mtu?: number;
  readonly server?: string;
  /** Duration of the lease in seconds. Default: 3600. */
  readonly lease: number;
  /** Seconds until the renewal (T1). Default: half of the lease. */
  readonly renewal: number;
  /** Messages about invalid parts of the reply. These parts are missing above. */
  readonly leftOut: readonly string[];
}

export function encodeQuery(query: Query): Buffer {
  const bytes = Buffer.alloc(548);
  bytes[0] = BOOTREQUEST;
  bytes[1] = ETHERNET;
  bytes[2] = query.mac.length;
  bytes.writeUInt32BE(query.transaction >>> 0, 4);
  bytes.writeUInt16BE(Math.min(query.seconds, 0xffff), 8);
  // A client without an address can only be reached by broadcast.
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
  option(OPTION.wanted, Buffer.from(WANTED));
  bytes[at++] = 255;
  return bytes.subarray(0, Math.max(at, MINIMUM));
}

/** @returns undefined for anything but a well-formed reply to this client's transaction */
export function decodeReply(bytes: Buffer, query: Pick<Query, 'transaction' | 'mac'>): Reply | undefined {
  if (bytes.length < OPTIONS_AT || bytes[0] !== BOOTREPLY || bytes.readUInt32BE(236) !== MAGIC_COOKIE) return undefined;
  if (bytes.readUInt32BE(4) !== query.transaction >>> 0) return undefined;
  if (!bytes.subarray(28, 28 + query.mac.length).equals(query.mac)) return undefined;
  const options = decodeOptions(bytes.subarray(OPTIONS_AT));
  const type = options.get(OPTION.type)?.[0];
  if (type === undefined) return undefined;
  const leftOut: string[] = [];
  const accept = <T>(found: Checked<T>): T | undefined => {
    if (typeof found !== 'string') return found?.value;
    leftOut.push(found);
    return undefined;
  };
  const machineAddresses = (subject: string, code: number): string[] =>
    addressesIn(options.get(code)).filter((address) => accept(machineAt(subject, address)) !== undefined);
  const seconds = (code: number): number | undefined => uint(options.get(code), 4);
  const lease = seconds(OPTION.lease) ?? 3600;
  const [server] = addressesIn(options.get(OPTION.server));
  const domain = accept(domainIn(options.get(OPTION.domain)));
  const mtu = accept(mtuIn(options.get(OPTION.mtu)));
  const mask = accept(maskIn(options.get(OPTION.mask))) ?? '255.255.255.0';
  const hasUsableGateway = ({ gateway }: Route): boolean =>
    gateway === undefined || accept(machineAt('gateway', gateway)) !== undefined;
  const routes =
    accept(routesIn(options.get(OPTION.routes)))?.filter(hasUsableGateway) ??
    defaultRoute(machineAddresses('router', OPTION.router));
  return {
    type,
    address: addressText(bytes.subarray(16, 20)),
    mask,
    dns: machineAddresses('name server', OPTION.dns).slice(0, MAX_SERVERS),
    lease,
    renewal: Math.min(seconds(OPTION.renewal) ?? lease / 2, lease),
    leftOut,
    ...(routes === undefined ? {} : { routes }),
    ...(server === undefined ? {} : { server }),
    ...(domain === undefined ? {} : { domain }),
    ...(mtu === undefined ? {} : { mtu }),
  };
}

/** An option that occurs several times is one split option, in this order. */
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
    const part = bytes.subarray(at + 2, at + 2 + length);
    const before = options.get(code);
    options.set(code, before ? Buffer.concat([before, part]) : part);
    at += 2 + length;
  }
  return options;
}

/** A valid value; undefined if the server did not send it; a message if it is invalid. */
type Checked<T> = { readonly value: T } | undefined | string;

const omitted = (subject: string, reason: string): string => `the ${subject} is left out: ${reason}`;

const NO_MACHINE = 'no machine of a network has this address';

function machineAt(subject: string, address: string): Checked<string> {
  return isMachine(address) ? { value: address } : omitted(`${subject} ${address}`, NO_MACHINE);
}

/** The name is written to files, so only characters of a host name are allowed. */
function domainIn(value: Buffer | undefined): Checked<string> {
  const text = value?.toString('latin1').replace(/\0+$/, '') ?? '';
  if (text === '') return undefined;
  return /^[A-Za-z0-9.-]{1,253}$/.test(text) ? { value: text } : omitted('domain', 'it is not a name');
}

function mtuIn(value: Buffer | undefined): Checked<number> {
  const mtu = uint(value, 2);
  if (mtu === undefined) return undefined;
  return mtu >= MIN_MTU ? { value: mtu } : omitted(`MTU ${mtu}`, `IPv4 needs ${MIN_MTU} at least`);
}

function maskIn(value: Buffer | undefined): Checked<string> {
  if (value === undefined || value.length < 4) return undefined;
  const mask = addressText(value.subarray(0, 4));
  return /^1+0*$/.test(bitsOf(mask)) ? { value: mask } : omitted(`mask ${mask}`, 'it is not ones and then zeros');
}

const defaultRoute = ([router]: readonly string[]): Route[] | undefined =>
  router === undefined ? undefined : [{ destination: '0.0.0.0', prefix: 0, gateway: router }];

/**
 * RFC 3442: the prefix length, as many address bytes as the prefix needs, and the gateway. The gateway is 0.0.0.0 for a
 * destination on the link.
 */
function routesIn(value: Buffer | undefined): Checked<Route[]> {
  if (value === undefined) return undefined;
  const routes: Route[] = [];
  for (let at = 0; at < value.length;) {
    const prefix = value[at] ?? 0;
    const end = at + 1 + Math.ceil(prefix / 8);
    if (prefix > 32 || end + 4 > value.length) return omitted('list of routes', `byte ${at} of it makes no sense`);
    if (routes.length === MAX_ROUTES) return omitted('list of routes', `there are more than ${MAX_ROUTES}`);
    const destination = Buffer.concat([value.subarray(at + 1, end), Buffer.alloc(4)], 4);
    const gateway = addressText(value.subarray(end, end + 4));
    routes.push({
      destination: networkOf(addressText(destination), prefix),
      prefix,
      ...(gateway === '0.0.0.0' ? {} : { gateway }),
    });
    at = end + 4;
  }
  return routes.length === 0 ? undefined : { value: routes };
}

const uint = (value: Buffer | undefined, size: number): number | undefined =>
  value?.length === size ? value.readUIntBE(0, size) : undefined;

function addressesIn(value: Buffer | undefined): string[] {
  if (!value) return [];
  const count = Math.floor(value.length / 4);
  return Array.from({ length: count }, (_, index) => addressText(value.subarray(index * 4, index * 4 + 4)));
}

export const addressText = (bytes: Buffer): string => bytes.join('.');

/** @throws RangeError if the text is not an IPv4 address */
export function addressBytes(text: string): Buffer {
  if (!isIPv4(text)) throw new RangeError(`not an IPv4 address: ${text}`);
  return Buffer.from(text.split('.').map(Number));
}

/** Whether a machine can have the address: not "this network", loopback, multicast or broadcast. */
export function isMachine(address: string): boolean {
  const first = addressBytes(address)[0] ?? 0;
  return first !== 0 && first !== 127 && (first & 0xf0) !== 0xe0 && address !== '255.255.255.255';
}

const bitsOf = (address: string): string =>
  [...addressBytes(address)].map((byte) => byte.toString(2).padStart(8, '0')).join('');

/** The prefix length of a mask. */
export const prefixOf = (mask: string): number => bitsOf(mask).replace(/0.*$/, '').length;

/** The mask of a prefix length from 0 to 32. */
export const networkMask = (prefix: number): string => networkOf('255.255.255.255', prefix);

/** Clears the bits after the prefix. */
export function networkOf(address: string, prefix: number): string {
  const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((addressBytes(address).readUInt32BE() & mask) >>> 0);
  return addressText(bytes);
}
