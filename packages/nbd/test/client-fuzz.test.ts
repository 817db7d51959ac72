/**
 * Plays corrupted conversations of a server to the client. For a long run with another seed:
 *
 *     NBD_FUZZ_MESSAGES=1000000 NBD_FUZZ_SEED=1 npx vitest run --project unit packages/nbd/test/client-fuzz.test.ts
 */
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd, type ClientEvent, type NbdBackend } from '../index.js';
import { fuzz, assertExpected, random, type Player, type Random } from './fuzz.js';
import { KIB, MIB, pattern, tempDir } from './support.js';
import { HELLO, reply, u16, u32, u64 } from './wire.js';

const MESSAGES = Number(process.env['NBD_FUZZ_MESSAGES'] ?? 5_000);
const SEED = Number(process.env['NBD_FUZZ_SEED'] ?? 1);
const LONG = 4 * 3_600_000;
const SIZE = MIB;
/** The contents of the server's disk. */
const DISK = pattern(SIZE);

interface Asked {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
}

/** The requests of the client in every session, all at once. */
const REQUESTS: readonly Asked[] = [
  { type: 0, offset: 0, length: 512 },
  { type: 1, offset: 4096, length: 4096 },
  { type: 0, offset: 8192, length: 64 * KIB },
  { type: 7, offset: 0, length: SIZE },
  { type: 6, offset: 65536, length: 65536 },
  { type: 4, offset: 65536, length: 4096 },
  { type: 5, offset: 0, length: 65536 },
  { type: 3, offset: 0, length: 0 },
];

const UNSUP = 0x80000001;

/** The handshake and the replies to the requests. */
function conversation(dice: Random): Buffer[] {
  const extended = dice.percent(40);
  const structured = extended || dice.percent(70);
  const modes = extended
    ? [reply(11, 1)]
    : [reply(11, UNSUP, dice.bytes(5)), structured ? reply(8, 1) : reply(8, UNSUP)];
  const contexts = structured ? [reply(10, 4, u32(1), Buffer.from('base:allocation')), reply(10, 1)] : [];
  const flags = 0b110111101101;
  const go = [
    reply(7, 3, u16(0), u64(SIZE), u16(flags)),
    reply(7, 3, u16(3), u32(1), u32(4096), u32(1 << 25)),
    reply(7, 1),
  ];
  const answers = REQUESTS.map((asked, index) => answer(asked, index + 1, { extended, structured }, dice));
  // A server may answer in any order.
  if (dice.percent(50)) answers.sort(() => dice.int(3) - 1);
  return [HELLO, ...modes, ...contexts, ...go, ...answers.flat()];
}

const disk = (offset: number, length: number): Buffer => DISK.subarray(offset, offset + length);

type Mode = Readonly<Record<'extended' | 'structured', boolean>>;

function answer({ type, offset, length }: Asked, cookie: number, mode: Mode, dice: Random): Buffer[] {
  const simple = (error: number, ...data: Buffer[]): Buffer =>
    Buffer.concat([u32(0x67446698), u32(error), u64(cookie), ...data]);
  if (!mode.structured)
    return dice.percent(10) ? [simple(5)] : [simple(0, ...(type === 0 ? [disk(offset, length)] : []))];
  const chunk = (kind: number, done: boolean, ...data: Buffer[]): Buffer => {
    const bytes = Buffer.concat(data);
    const magic = u32(mode.extended ? 0x6e8a278c : 0x668e33ef);
    const sizes = mode.extended ? [u64(offset), u64(bytes.length)] : [u32(bytes.length)];
    return Buffer.concat([magic, u16(done ? 1 : 0), u16(kind), u64(cookie), ...sizes, bytes]);
  };
  if (dice.percent(10)) return [chunk(0x8001, true, u32(dice.pick([1, 5, 22, 28, 999])), u16(3), Buffer.from('no!'))];
  if (type === 7 && mode.extended)
    return [chunk(6, true, u32(1), u32(2), u64(length / 2), u64(0), u64(length), u64(3))];
  if (type === 7) return [chunk(5, true, u32(1), u32(length / 2), u32(0), u32(length), u32(3))];
  if (type !== 0) return mode.extended || dice.percent(50) ? [chunk(0, true)] : [simple(0)];
  const half = length / 2;
  const first = chunk(1, false, u64(offset), disk(offset, half));
  const second = dice.percent(50)
    ? chunk(2, true, u64(offset + half), u32(half))
    : chunk(1, true, u64(offset + half), disk(offset + half, half));
  return [first, second];
}

/** Length of the handshake in bytes. What follows it is sent once the client has sent its requests. */
const handshakeOf = (all: Buffer): number => {
  const go = all.lastIndexOf(reply(7, 1));
  return go < 0 ? all.length : go + 20;
};

/** The server of one session. */
async function talk(socket: Socket, writes: readonly Buffer[], dice: Random): Promise<void> {
  let heard = 0;
  socket.on('data', (bytes: Buffer) => (heard += bytes.length)).on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const asked = handshakeOf(Buffer.concat(writes));
  let [said, waited] = [0, false];
  for (const bytes of writes) {
    if (!waited && said + bytes.length > asked) {
      waited = true;
      for (let before = -1; before !== heard && !socket.destroyed;) {
        before = heard;
        for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate);
      }
    }
    socket.write(bytes);
    said += bytes.length;
    if (dice.percent(10)) await new Promise(setImmediate);
  }
  if (dice.percent(20)) socket.destroy();
  else socket.end();
  await closed;
}

/** Whether these bytes are a valid result of the read. */
type MayBe = (bytes: Buffer, offset: number) => boolean;

/** Checks that everything ends, successfully or not, and that the client reads only what the server sent. */
async function client(uri: string, mayBe: MayBe): Promise<void> {
  const onEvent = ({ error }: ClientEvent): unknown => error && errors.push(error);
  const errors: unknown[] = [];
  const ended = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => errors.push(error));
  const opening = connectNbd(uri, { reconnectTimeout: 0, connections: 1, onEvent });
  await ended(opening.then((device) => exercise(device, mayBe, ended)));
  errors.forEach(assertExpected);
}

async function exercise(
  device: NbdBackend,
  mayBe: MayBe,
  ended: (work: Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const read = async (offset: number, length: number): Promise<void> => {
    const bytes = Buffer.alloc(length, 'not read');
    await device.read(bytes, offset);
    for (let at = 0; at < length; at += length / 2) {
      const half = bytes.subarray(at, at + length / 2);
      expect(mayBe(half, offset + at) || half.every((byte) => byte === 0), `the bytes at ${offset + at}`).toBe(true);
    }
  };
  const works: Readonly<Record<number, (request: Asked) => unknown>> = {
    0: ({ offset, length }) => read(offset, length),
    1: ({ offset, length }) => device.write?.(Buffer.alloc(length), offset),
    3: () => device.flush?.() ?? Promise.resolve(),
    4: ({ offset, length }) => device.trim?.(offset, length),
    5: ({ offset, length }) => device.prefetch?.(offset, length),
    6: ({ offset, length }) => device.zero?.(offset, length),
    7: ({ length }) => device.extents?.(0, length),
  };
  await Promise.all(REQUESTS.map((request) => ended(Promise.resolve().then(() => works[request.type]?.(request)))));
  await device.close();
}

function player(): Player {
  const path = join(tempDir(), 'fuzz.sock');
  let next: ((socket: Socket) => void) | undefined;
  let meant = Buffer.alloc(0);
  const server = createServer({ allowHalfOpen: true }, (socket) => next?.(socket)).listen(path);
  onTestFinished(() => void server.close());
  return {
    messages(dice) {
      const all = conversation(dice);
      meant = Buffer.concat(all);
      return all;
    },
    async play(writes, dice) {
      const sent = Buffer.concat(writes);
      const mayBe: MayBe = sent.equals(meant)
        ? (bytes, offset) => bytes.equals(disk(offset, bytes.length))
        : (bytes) => sent.includes(bytes);
      const talking = new Promise<void>((resolve, reject) => {
        next = (socket) => void talk(socket, writes, dice).then(resolve, reject);
      });
      await Promise.all([client(`nbd+unix:///?socket=${path}`, mayBe), talking]);
    },
  };
}

describe('corrupted conversations of a server', () => {
  it(
    'do no harm to the client',
    async () => {
      const figures = await fuzz(player(), SEED, MESSAGES);
      if (process.env['NBD_FUZZ_MESSAGES']) console.log(figures, process.memoryUsage().rss / MIB);
      expect(figures.messages).toBeGreaterThanOrEqual(MESSAGES);
    },
    LONG,
  );

  it('succeed if they are not corrupted', async () => {
    const path = join(tempDir(), 'good.sock');
    const dice = { ...random(3), percent: () => false };
    const server = createServer(
      { allowHalfOpen: true },
      (socket) => void talk(socket, conversation(dice), dice),
    ).listen(path);
    onTestFinished(() => void server.close());
    const device = await connectNbd(`nbd+unix:///?socket=${path}`, { reconnectTimeout: 0, connections: 1 });
    expect([device.mode, device.size]).toEqual(['simple', SIZE]);
    const bytes = Buffer.alloc(512);
    await Promise.all([device.read(bytes, 0), device.write?.(Buffer.alloc(4096), 4096)]);
    expect(bytes.equals(disk(0, 512))).toBe(true);
  });
});
