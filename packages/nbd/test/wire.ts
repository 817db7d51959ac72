/**
 * A client at byte level. Its numbers are copied from the specification and not imported from the server, so a mistake
 * there is not repeated here. https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { expect, onTestFinished } from 'vitest';

export const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** A string with its length in 32 bits. */
export const text = (value: string): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);

/** The greeting of a server with fixed newstyle and NO_ZEROES. */
export const HELLO = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]);

/** A server's reply to an option. */
export const reply = (option: number, type: number, ...data: Buffer[]): Buffer =>
  Buffer.concat([hex('0003e889045565a9'), u32(option), u32(type), u32(Buffer.concat(data).length), ...data]);

export const ACK = 1;
/** The reply type of an option's error. */
export const refusal = (number: number): number => 0x80000000 + number;

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

/** The fields of a request; all others are 0. */
export interface RequestFields {
  readonly type: number;
  readonly flags?: number;
  readonly cookie?: number | bigint;
  readonly offset?: number | bigint;
  readonly length?: number | bigint;
}

export const request = ({ type, flags = 0, cookie = 1, offset = 0, length = 0 }: RequestFields): Buffer =>
  Buffer.concat([hex('25609513'), u16(flags), u16(type), u64(cookie), u64(offset), u32(Number(length))]);

export const extendedRequest = ({ type, flags = 0, cookie = 1, offset = 0, length = 0 }: RequestFields): Buffer =>
  Buffer.concat([hex('21e41c71'), u16(flags), u16(type), u64(cookie), u64(offset), u64(length)]);

export interface Chunk {
  readonly flags: number;
  readonly type: number;
  readonly cookie: bigint;
  /** Only with extended headers. */
  readonly offset?: bigint;
  readonly data: Buffer;
}

export class Wire {
  #arrived: Buffer[] = [];
  #size = 0;
  #ended = false;
  #wake: () => void = () => undefined;
  /** Resolves when the peer has ended its side, or the connection is lost. */
  readonly ended: Promise<void>;

  constructor(readonly socket: Duplex) {
    socket.on('data', (bytes: Buffer) => {
      this.#arrived.push(bytes);
      this.#size += bytes.length;
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#ended = true;
        this.#wake();
        resolve();
      };
      socket.on('end', end).on('close', end).on('error', end);
    });
    onTestFinished(() => void socket.destroy());
  }

  /** Connects to a Unix socket or a port. */
  static async connect(at: string | number): Promise<Wire> {
    const socket: Socket = typeof at === 'string' ? connect(at) : connect(at, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Wire(socket);
  }

  /** Connects and answers the greeting; by default with fixed newstyle and NO_ZEROES. */
  static async greeted(at: string | number, flags = 3): Promise<Wire> {
    const wire = await Wire.connect(at);
    expect(await wire.read(18)).toEqual(hex('4e42444d41474943 49484156454f5054 0003'));
    wire.send(u32(flags));
    return wire;
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** @throws Error if the peer ends first */
  async read(length: number): Promise<Buffer> {
    while (this.#size < length) {
      if (this.#ended) throw new Error(`${length} bytes wanted, the peer ended after ${this.#size}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const all = Buffer.concat(this.#arrived);
    this.#arrived = [all.subarray(length)];
    this.#size -= length;
    return all.subarray(0, length);
  }

  /** The unread bytes, once the peer has ended. */
  async readToEnd(): Promise<Buffer> {
    await this.ended;
    return Buffer.concat(this.#arrived);
  }

  option(number: number, ...data: Uint8Array[]): void {
    const all = Buffer.concat(data);
    this.send(hex('49484156454f5054'), u32(number), u32(all.length), all);
  }

  async reply(): Promise<OptionReply> {
    const header = await this.read(20);
    expect(header.subarray(0, 8)).toEqual(hex('0003e889045565a9'));
    return {
      option: header.readUInt32BE(8),
      type: header.readUInt32BE(12),
      data: await this.read(header.readUInt32BE(16)),
    };
  }

  /** Sends an option. @returns its replies up to the final one: an ACK or an error */
  async sendOption(number: number, ...data: Uint8Array[]): Promise<OptionReply[]> {
    this.option(number, ...data);
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.reply();
      expect(reply.option).toBe(number);
      replies.push(reply);
      if (reply.type === ACK || reply.type >= 0x80000000) return replies;
    }
  }

  /** The type of the final reply to an option. */
  async finalReply(number: number, ...data: Uint8Array[]): Promise<number | undefined> {
    return (await this.sendOption(number, ...data)).at(-1)?.type;
  }

  /** Chooses an export. @returns its transmission flags */
  async openExport(name = ''): Promise<number> {
    const replies = await this.sendOption(7, text(name), u16(1), u16(3));
    expect(replies.at(-1)?.type).toBe(ACK);
    const exportInfo = replies.find(({ data }) => data.length === 12 && data.readUInt16BE(0) === 0);
    return exportInfo?.data.readUInt16BE(10) ?? 0;
  }

  /** Reads a simple reply without data. @returns its error */
  async simple(cookie: number | bigint = 1): Promise<number> {
    const reply = await this.read(16);
    expect([reply.subarray(0, 4), reply.subarray(8)]).toEqual([hex('67446698'), u64(cookie)]);
    return reply.readUInt32BE(4);
  }

  async chunk(): Promise<Chunk> {
    const header = await this.read(20);
    expect(header.subarray(0, 4)).toEqual(hex('668e33ef'));
    const data = await this.read(header.readUInt32BE(16));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      data,
    };
  }

  async extendedChunk(): Promise<Chunk> {
    const header = await this.read(32);
    expect(header.subarray(0, 4)).toEqual(hex('6e8a278c'));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      data: await this.read(Number(header.readBigUInt64BE(24))),
    };
  }
}

/** A client that has chosen an export. */
export async function connectToExport(at: string | number, name = ''): Promise<Wire> {
  const wire = await Wire.greeted(at);
  await wire.openExport(name);
  return wire;
}

/** Checks that the server still answers this client, which has chosen an export. */
export async function expectWorking(wire: Wire): Promise<void> {
  wire.send(request({ type: 0, cookie: 77, length: 3 }));
  expect(await wire.simple(77)).toBe(0);
  await wire.read(3);
}
