/**
 * The client's handling of replies, byte by byte as in the specification, from a server that may send anything. No
 * server can make it wait, use up memory, or accept data that did not arrive.
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd, type NbdBackend } from '../index.js';
import { MIB, tempDir } from './support.js';
import { hex, HELLO, reply, u16, u32, u64 } from './wire.js';

const SIZE = 1 << 30;
const BASE_ALLOCATION = 7;

interface Request {
  readonly flags: number;
  readonly type: number;
  readonly cookie: Buffer;
  readonly offset: number;
  readonly length: number;
}

/** A chunk of a reply to `request`. */
type Chunk = (kind: number, flags: number, ...data: Buffer[]) => Buffer;
/** @returns the bytes to send */
type Answer = (request: Request, chunk: Chunk, socket: Socket) => Buffer | undefined;

const DONE = 1;

/** Replies by option: refuses extended headers unless `extended`. */
const options = (extended: boolean): Readonly<Record<number, Buffer>> => ({
  11: reply(11, extended ? 1 : 0x80000001),
  8: reply(8, 1),
  10: Buffer.concat([reply(10, 4, u32(BASE_ALLOCATION), Buffer.from('base:allocation')), reply(10, 1)]),
  7: Buffer.concat([reply(7, 3, u16(0), u64(SIZE), u16(0b110111101101)), reply(7, 1)]),
});

/** A client's device from such a server. */
async function disk(extended: boolean, answer: Answer, reconnectTimeout = 0): Promise<NbdBackend> {
  const path = join(tempDir(), 'socket');
  const said = options(extended);
  const requestSize = extended ? 32 : 28;
  const listener = createServer((socket) => {
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => undefined).write(HELLO);
    let bytes = Buffer.alloc(0);
    let state: 'flags' | 'options' | 'requests' = 'flags';
    const step = { flags, options: option, requests };
    function flags(): boolean {
      if (bytes.length < 4) return false;
      bytes = bytes.subarray(4);
      state = 'options';
      return true;
    }
    function option(): boolean {
      if (bytes.length < 16 || bytes.length < 16 + bytes.readUInt32BE(12)) return false;
      const number = bytes.readUInt32BE(8);
      bytes = bytes.subarray(16 + bytes.readUInt32BE(12));
      socket.write(said[number] ?? reply(number, 0x80000001));
      if (number === 7) state = 'requests';
      return true;
    }
    function requests(): boolean {
      if (bytes.length < requestSize) return false;
      const request = {
        flags: bytes.readUInt16BE(4),
        type: bytes.readUInt16BE(6),
        cookie: Buffer.from(bytes.subarray(8, 16)),
        offset: Number(bytes.readBigUInt64BE(16)),
        length: extended ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(24),
      };
      const payload = request.type === 1 ? request.length : 0;
      if (bytes.length < requestSize + payload) return false;
      bytes = bytes.subarray(requestSize + payload);
      const sent = answer(request, chunkOf(extended, request), socket);
      if (sent) socket.write(sent);
      return true;
    }
    socket.on('data', (more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
      while (step[state]());
    });
  }).listen(path);
  await once(listener, 'listening');
  onTestFinished(() => void listener.close());
  const device = await connectNbd(`nbd+unix:///?socket=${path}`, { reconnectTimeout, connections: 1 });
  onTestFinished(() => device.close());
  return device;
}

const chunkOf =
  (extended: boolean, { cookie, offset }: Request): Chunk =>
  (kind, flags, ...data) => {
    const length = Buffer.concat(data).length;
    const head = extended
      ? [hex('6e8a278c'), u16(flags), u16(kind), cookie, u64(offset), u64(length)]
      : [hex('668e33ef'), u16(flags), u16(kind), cookie, u32(length)];
    return Buffer.concat([...head, ...data]);
  };

describe.each([
  ['structured', false],
  ['extended', true],
] as const)('%s replies', (_name, extended) => {
  const states = (...pairs: readonly (readonly [number, number])[]): [kind: number, data: Buffer] =>
    extended
      ? [6, Buffer.concat([u32(BASE_ALLOCATION), u32(pairs.length), ...pairs.flat().map(u64)])]
      : [5, Buffer.concat([u32(BASE_ALLOCATION), ...pairs.flat().map(u32)])];
  const hole = (at: number, length: number): Buffer => Buffer.concat([u64(at), u32(length)]);
  const data = (at: number, length: number): Buffer => Buffer.concat([u64(at), Buffer.alloc(length, 5)]);
  const readOf = async (answer: Answer): Promise<Buffer> => {
    const into = Buffer.alloc(4096, 9);
    await (await disk(extended, answer)).read(into, 8192);
    return into;
  };

  it('fill a read in any order, with holes', async () => {
    const into = await readOf((_request, chunk) =>
      Buffer.concat([
        chunk(1, 0, data(8192 + 3072, 1024)),
        chunk(2, 0, hole(8192 + 1024, 1024)),
        chunk(1, 0, data(8192, 1024)),
        chunk(1, 0, data(8192 + 2048, 1024)),
        chunk(0, DONE),
      ]),
    );
    expect(into.equals(Buffer.concat([Buffer.alloc(1024, 5), Buffer.alloc(1024), Buffer.alloc(2048, 5)]))).toBe(true);
  });

  it.each<[what: string, answer: Answer]>([
    ['the same half twice', (_r, chunk) => Buffer.concat([chunk(1, 0, data(8192, 2048)), chunk(1, DONE, data(8192, 2048))])], // prettier-ignore
    ['all of it twice', (_r, chunk) => Buffer.concat([chunk(1, 0, data(8192, 4096)), chunk(1, DONE, data(8192, 4096))])], // prettier-ignore
    ['a part, and then all', (_r, chunk) => Buffer.concat([chunk(2, 0, hole(8192, 1)), chunk(1, DONE, data(8192, 4096))])], // prettier-ignore
    ['parts that overlap', (_r, chunk) => Buffer.concat([chunk(1, 0, data(8192, 2049)), chunk(2, DONE, hole(10240, 2048))])], // prettier-ignore
    ['a half', (_r, chunk) => chunk(1, DONE, data(8192, 2048))],
    ['nothing', (_r, chunk) => chunk(0, DONE)],
    ['more', (_r, chunk) => chunk(1, DONE, data(8192, 4097))],
    ['what lies before', (_r, chunk) => chunk(1, DONE, data(8191, 4096))],
    ['a state', (_r, chunk) => chunk(states([4096, 0])[0], DONE, states([4096, 0])[1])],
    ['no end', (_r, chunk) => chunk(0, 0)],
    ['a chunk of an unknown type', (_r, chunk) => chunk(77, DONE, u32(1))],
    ['a reply to something else', ({ offset }) => chunkOf(extended, { cookie: u64(999), offset } as Request)(0, DONE)], // prettier-ignore
  ])('do not complete a read: %s', async (_what, answer) => {
    await expect(readOf(answer)).rejects.toMatchObject({ code: 'EIO' });
  });

  it('may be an error with a message and its offset', async () => {
    const words = Buffer.from('a bad sector');
    const error = readOf((_r, chunk) => chunk(0x8002, DONE, u32(5), u16(words.length), words, u64(8192)));
    await expect(error).rejects.toThrow('EIO: the server refused READ of 4096 bytes at 8192: a bad sector');
    const after = readOf((_r, chunk) =>
      Buffer.concat([chunk(1, 0, data(8192, 512)), chunk(0x8001, DONE, u32(28), u16(0))]),
    );
    await expect(after).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  it('cannot be split into parts without end', { timeout: 30_000 }, async () => {
    const device = await disk(extended, (request, chunk) =>
      Buffer.concat(Array.from({ length: 1 << 15 }, (_, index) => chunk(2, 0, hole(request.offset + 2 * index, 1)))),
    );
    await expect(device.read(Buffer.alloc(MIB), 0)).rejects.toThrow('a read in more than 16384 parts');
  });

  it('report the extents of a range, and may cover less or more than requested', async () => {
    const device = await disk(extended, ({ offset }, chunk) => {
      const [kind, bytes] = offset === 0 ? states([MIB, 0], [MIB, 3]) : states([MIB, 2], [4 * MIB, 1]);
      return chunk(kind, DONE, bytes);
    });
    expect(await device.extents?.(0, 4 * MIB)).toEqual([
      { offset: 0, length: MIB, hole: false, zero: false },
      { offset: MIB, length: MIB, hole: true, zero: true },
      { offset: 2 * MIB, length: MIB, hole: false, zero: true },
      { offset: 3 * MIB, length: MIB, hole: true, zero: false },
    ]);
  });

  it.each<[what: string, answer: Answer]>([
    ['nothing', (_r, chunk) => chunk(0, DONE)],
    ['two answers', (_r, chunk) => Buffer.concat([chunk(states([MIB, 0])[0], 0, states([MIB, 0])[1]), chunk(states([MIB, 0])[0], DONE, states([MIB, 0])[1])])], // prettier-ignore
    ['no extents', (_r, chunk) => chunk(states()[0], DONE, states()[1])],
    ['an extent of nothing', (_r, chunk) => chunk(states([0, 0])[0], DONE, states([0, 0])[1])],
    ['another context', (_r, chunk) => chunk(5, DONE, u32(8), u32(MIB), u32(0))],
  ])('are not a valid block status: %s', async (_what, answer) => {
    const device = await disk(extended, answer);
    await expect(device.extents?.(0, 4 * MIB)).rejects.toMatchObject({ code: 'EIO' });
  });

  it('do not count if they were cut off and the request is sent again', async () => {
    let count = 0;
    const device = await disk(
      extended,
      ({ length }, chunk, socket) => {
        const [kind, bytes] = states([length, 0]);
        if (count++ > 0) return chunk(kind, DONE, bytes);
        socket.end(chunk(kind, 0, bytes));
        return undefined;
      },
      10,
    );
    expect(await device.extents?.(0, MIB)).toEqual([{ offset: 0, length: MIB, hole: false, zero: false }]);
    expect(count).toBe(2);
  });

  it('follow the requests, with their flags', async () => {
    const asked: [type: number, flags: number, offset: number, length: number][] = [];
    const device = await disk(extended, ({ type, flags, offset, length }, chunk) => {
      asked.push([type, flags, offset, length]);
      return chunk(0, DONE);
    });
    await device.flush?.();
    await device.trim?.(4096, 8192);
    await device.zero?.(0, 512);
    await device.zero?.(0, 512, { mayTrim: false });
    await device.zero?.(0, 512, { mayTrim: false, fast: true });
    await device.prefetch?.(512, 9 * MIB);
    await device.write?.(Buffer.alloc(512), 1024);
    const payload = extended ? 1 << 5 : 0;
    expect(asked).toEqual([
      [3, 0, 0, 0],
      [4, 0, 4096, 8192],
      [6, 0, 0, 512],
      [6, 1 << 1, 0, 512],
      [6, (1 << 1) | (1 << 4), 0, 512],
      [5, 0, 512, 8 * MIB],
      [5, 0, 512 + 8 * MIB, MIB],
      [1, payload, 1024, 512],
    ]);
  });
});
