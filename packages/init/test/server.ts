/**
 * A DHCP server for tests. The messages are built by hand from RFC 2131, figure 1 (the fixed fields) and RFC 2132 (the
 * options), so that no code only reads back what it wrote.
 */
import type { Wire } from './recorder.js';

export const SERVER = [10, 0, 2, 2];
export const ADDRESS = [10, 0, 2, 15];

export interface Message {
  readonly op?: number;
  readonly xid: number;
  readonly mac: Buffer;
  readonly yiaddr?: readonly number[];
  readonly cookie?: readonly number[];
  readonly options: readonly (readonly [code: number, ...bytes: number[]])[];
  /** Bytes after the options. Default: the end mark. */
  readonly tail?: readonly number[];
}

export function message(m: Message): Buffer {
  const bytes: number[] = [];
  bytes.push(m.op ?? 2, 1, 6, 0); // op, htype, hlen, hops
  bytes.push((m.xid >>> 24) & 255, (m.xid >>> 16) & 255, (m.xid >>> 8) & 255, m.xid & 255);
  bytes.push(0, 0, 0x80, 0); // secs, flags
  bytes.push(0, 0, 0, 0); // ciaddr
  bytes.push(...(m.yiaddr ?? ADDRESS));
  bytes.push(...SERVER); // siaddr
  bytes.push(0, 0, 0, 0); // giaddr
  bytes.push(...m.mac, ...new Array<number>(10).fill(0)); // chaddr
  bytes.push(...new Array<number>(64 + 128).fill(0)); // sname, file
  bytes.push(...(m.cookie ?? [99, 130, 83, 99]));
  for (const [code, ...value] of m.options) bytes.push(code, value.length, ...value);
  bytes.push(...(m.tail ?? [255]));
  return Buffer.from(bytes);
}

export const uint32 = (value: number): number[] => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
export const text = (value: string): number[] => [...Buffer.from(value)];

export const SETTINGS: Message['options'] = [
  [1, 255, 255, 255, 0],
  [3, ...SERVER],
  [6, 10, 0, 2, 3, 8, 8, 8, 8],
  [15, ...text('example.org')],
  [26, 0x05, 0x78],
  [51, ...uint32(86400)],
  [54, ...SERVER],
  [58, ...uint32(40000)],
];

export interface Request {
  readonly type: number;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  readonly ciaddr: number[];
  readonly mac: Buffer;
  readonly options: ReadonlyMap<number, number[]>;
}

/** Decodes a client's query by hand. @throws Error if a server would not accept it */
export function parseRequest(bytes: Buffer): Request {
  if (bytes.length < 300) throw new Error('shorter than a BOOTP message');
  if (bytes[0] !== 1 || bytes[1] !== 1 || bytes[2] !== 6) throw new Error('not a request of an Ethernet client');
  if (!bytes.subarray(236, 240).equals(Buffer.from([99, 130, 83, 99]))) throw new Error('no magic cookie');
  const options = new Map<number, number[]>();
  let at = 240;
  for (; bytes[at] !== 255; at += 2 + (bytes[at + 1] ?? 0)) {
    if (at >= bytes.length) throw new Error('no end mark');
    options.set(bytes[at] ?? 0, [...bytes.subarray(at + 2, at + 2 + (bytes[at + 1] ?? 0))]);
  }
  return {
    type: options.get(53)?.[0] ?? 0,
    xid: bytes.readUInt32BE(4),
    secs: bytes.readUInt16BE(8),
    flags: bytes.readUInt16BE(10),
    ciaddr: [...bytes.subarray(12, 16)],
    mac: bytes.subarray(28, 34),
    options,
  };
}

export const reply = (query: Request, type: number, options: Message['options'] = SETTINGS): Buffer =>
  message({ xid: query.xid, mac: query.mac, options: [[53, type], ...options] });

export const nak = (query: Request): Buffer =>
  message({
    xid: query.xid,
    mac: query.mac,
    yiaddr: [0, 0, 0, 0],
    options: [
      [53, 6],
      [54, ...SERVER],
    ],
  });

/** Offers an address, then acknowledges it. */
export const server: Wire = (datagram) => {
  const query = parseRequest(datagram);
  return [reply(query, query.type === 1 ? 2 : 5)];
};
