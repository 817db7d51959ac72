/**
 * Plays corrupted conversations to the server. For a long run with another seed:
 *
 *     NBD_FUZZ_MESSAGES=1000000 NBD_FUZZ_SEED=1 npx vitest run --project unit packages/nbd/test/fuzz.test.ts
 *
 * A failure names the seed of its session. With that seed and one message, only this session is played.
 */
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memory, slice, type BlockBackend } from '@nodeos/block';
import { describe, expect, it } from 'vitest';
import { fuzz, assertExpected, pair, random, type Player, type Random } from './fuzz.js';
import { withOverrides, withoutClose, KIB, MIB, nbdsh, NO_THREADS, serve, THREADS, type Served } from './support.js';
import { extendedRequest, hex, request, text, u16, u32, u64 } from './wire.js';

const MESSAGES = Number(process.env['NBD_FUZZ_MESSAGES'] ?? 10_000);
const SEED = Number(process.env['NBD_FUZZ_SEED'] ?? 1);
const LONG = 4 * 3_600_000;
const SIZE = MIB;

/** A backend as slow as a disk, which does not always answer in order. */
function slow(backend: BlockBackend, dice: Random): BlockBackend {
  const late = async <T>(work: () => T): Promise<Awaited<T>> => {
    for (let turns = dice.int(4); turns > 0; turns--) await new Promise(setImmediate);
    return await work();
  };
  return withOverrides(backend, {
    read: (into, offset) => late(() => backend.read(into, offset)),
    write: (bytes, offset) => late(() => backend.write?.(bytes, offset)),
    extents: (offset, length) => late(() => backend.extents?.(offset, length) ?? []),
    flush: () => late(() => undefined),
    prefetch: () => late(() => undefined),
    zero: undefined,
  });
}

const fails = (): never => {
  throw Object.assign(new Error('broken'), { code: 'EIO' });
};

function served(threaded: boolean): Promise<Served> {
  // A device that could grow to any size could take any time to fill.
  const whole = memory(SIZE);
  const backend = withOverrides(whole, { resize: fails });
  const exports = {
    // A slice cannot be resized either, and threads can open it.
    '': { open: () => withoutClose(threaded ? slice(whole, 0, SIZE) : backend) },
    slow: { open: () => withoutClose(slow(backend, random(SEED))) },
    fixed: { open: () => withoutClose(whole), readOnly: true },
    sectors: {
      open: () => withOverrides(memory(SIZE), { blockSizes: { minimum: 512, preferred: 4096, maximum: MIB } }),
    },
    broken: {
      open: () => withOverrides(memory(SIZE), { read: fails, write: async () => Promise.resolve().then(fails) }),
    },
    missing: { open: fails },
  };
  return serve(exports, { ...(threaded ? THREADS : NO_THREADS), limits: { inFlight: 256 * KIB } });
}

const NAMES = ['', '', 'slow', 'slow', 'fixed', 'sectors', 'broken', 'missing', 'none'];

/** All messages of one client. */
function conversation(dice: Random): Buffer[] {
  const option = (number: number, ...data: Buffer[]): Buffer =>
    Buffer.concat([hex('49484156454f5054'), u32(number), u32(Buffer.concat(data).length), ...data]);
  const name = dice.pick(NAMES);
  const info = (number: number): Buffer => option(number, text(name), u16(2), u16(dice.int(4)), u16(3));
  const contexts = (number: number): Buffer => option(number, text(name), u32(1), text('base:allocation'));
  const extended = dice.percent(40);
  const mode = extended ? [option(11)] : dice.percent(60) ? [option(8)] : [];
  const others = [() => option(3), () => info(6), () => contexts(9), () => option(99, dice.bytes(9)), () => option(5)];
  const greeting = [u32(3), ...mode, ...Array.from({ length: dice.int(3) }, () => dice.pick(others)())];
  if (dice.percent(5)) return [...greeting, option(2)];
  const choice = dice.percent(10) ? option(1, Buffer.from(name)) : info(7);
  const requests = Array.from({ length: 1 + dice.int(30) }, () => asked(dice, extended));
  const leave = dice.percent(70) ? [(extended ? extendedRequest : request)({ type: 2 })] : [];
  return [...greeting, ...(dice.percent(70) ? [contexts(10)] : []), choice, ...requests, ...leave];
}

function asked(dice: Random, extended: boolean): Buffer {
  const type = dice.pick([0, 0, 0, 1, 1, 1, 3, 4, 5, 6, 7, 7, 8]);
  const length = 512 * dice.pick([0, 1, 8, 9, 128, 128 + dice.int(512)]);
  const offset = type === 3 ? 0 : 512 * dice.int(SIZE / 512);
  const flags = dice.percent(80) ? 0 : 1 << dice.int(6);
  const cookie = dice.int(2 ** 31);
  const encoded = extended ? extendedRequest : request;
  if (type === 1) {
    const payload = dice.bytes(length);
    return Buffer.concat([encoded({ type, flags: extended ? flags | 32 : flags, cookie, offset, length }), payload]);
  }
  if (type === 7 && extended && dice.percent(30)) {
    const payload = Buffer.concat([u64(length), u32(1)]);
    return Buffer.concat([encoded({ type, flags: 32, cookie, offset, length: payload.length }), payload]);
  }
  return encoded({ type, flags, cookie, offset, length: type === 3 || type === 8 ? 0 : length });
}

/** Checks that the server's output is well-formed, whatever its input. It may end anywhere. */
function check(said: Buffer): void {
  const magic = (at: number): string => said.toString('hex', at, Math.min(at + 4, said.length));
  let [at, structured, extended, chosen] = [18, false, false, false];
  while (said.length - at >= 20 && !chosen) {
    if (said.toString('hex', at, at + 8) !== '0003e889045565a9') return; // EXPORT_NAME has no magic number
    const [number, type] = [said.readUInt32BE(at + 8), said.readUInt32BE(at + 12)];
    structured ||= type === 1 && number === 8;
    extended ||= type === 1 && number === 11;
    chosen = type === 1 && number === 7;
    at += 20 + said.readUInt32BE(at + 16);
  }
  if (!chosen || !(structured || extended)) return;
  while (said.length - at >= 32) {
    const head = { '668e33ef': 20, '6e8a278c': 32, '67446698': 16 }[magic(at)];
    if (head === undefined || (head === 32) !== extended) throw new Error(`a reply at ${at} begins with ${magic(at)}`);
    const length = head === 16 ? 0 : head === 20 ? said.readUInt32BE(at + 16) : Number(said.readBigUInt64BE(at + 24));
    if (length > 64 * MIB) throw new Error(`a chunk of ${length} bytes`);
    at += head + length;
  }
}

/** The client's side of a connection: it reads at once, or only after it has sent everything, and sometimes pauses. */
async function talk(socket: Duplex, writes: readonly Buffer[], dice: Random, pause: Pause): Promise<void> {
  const said: Buffer[] = [];
  const closed = new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined));
  const listen = (): void => void socket.on('data', (bytes: Buffer) => said.push(bytes));
  const late = dice.percent(10);
  if (!late) listen();
  for (const bytes of writes) {
    socket.write(bytes);
    if (dice.percent(20)) await pause();
  }
  if (dice.percent(5)) socket.destroy();
  else socket.end();
  if (late) listen();
  await closed;
  check(Buffer.concat(said));
}

type Pause = () => Promise<unknown>;

/** One way to play to the server. */
interface Way {
  readonly threaded: boolean;
  /** Percentage of conversations over a real socket. */
  readonly socketShare: number;
  readonly pause: Pause;
  /** Share of the messages, from 0 to 1. */
  readonly share: number;
}

const WAYS: Readonly<Record<string, Way>> = {
  'the event loop': { threaded: false, socketShare: 50, pause: () => new Promise(setImmediate), share: 1 },
  // The pauses give a connection time to move to a thread.
  threads: { threaded: true, socketShare: 100, pause: () => sleep(2), share: 0.1 },
};

/** The other conversations go through memory, because the bytes of a real socket are read in another way. */
const against = ({ server, path, events }: Served, { socketShare, pause }: Way): Player => ({
  messages: conversation,
  async play(writes, dice) {
    if (dice.percent(socketShare)) await talk(connect({ path, allowHalfOpen: true }), writes, dice, pause);
    else {
      const [mine, its] = pair();
      await Promise.all([server.serve(its), talk(mine, writes, dice, pause)]);
    }
    // Requests of this session must not overlap with the next one.
    while (server.metrics.connections.open > 0) await new Promise(setImmediate);
    // The errors in these events would keep their causes in memory.
    for (const { error } of events.splice(0)) if (error !== undefined) assertExpected(error);
  },
});

/** Bytes of all buffers in use. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}

describe('corrupted conversations', () => {
  it.each(Object.entries(WAYS))(
    'do no harm to %s',
    async (_, way) => {
      const target = await served(way.threaded);
      const before = heldBytes();
      const figures = await fuzz(against(target, way), SEED, MESSAGES * way.share);
      const { moved } = target.server.metrics.connections;
      if (process.env['NBD_FUZZ_MESSAGES']) console.log({ ...figures, moved });
      expect(figures.messages).toBeGreaterThanOrEqual(MESSAGES * way.share);
      if (way.threaded) expect(moved).toBeGreaterThan(figures.sessions / 20);
      else expect(moved).toBe(0);
      expect(target.server.openExports).toEqual([]);
      if (process.env['NBD_FUZZ_MESSAGES']) console.log('held', heldBytes() - before);
      // The pool keeps up to 32 MiB. A thread of V8 frees garbage, but not at once.
      for (let looks = 0; looks < 100 && heldBytes() - before >= 48 * MIB; looks++) await sleep(50);
      expect(heldBytes() - before).toBeLessThan(48 * MIB);
      const healthy = 'h.pwrite(b"healthy", 4094); print(bytes(h.pread(7, 4094)))';
      for (const name of ['', 'slow']) expect(await nbdsh(target.uri(name), healthy)).toBe("b'healthy'\n");
    },
    LONG,
  );

  it('are the same for the same seed', () => {
    const bytes = (seed: number): Buffer => Buffer.concat(conversation(random(seed)));
    expect(bytes(5).equals(bytes(5))).toBe(true);
    expect(bytes(5).equals(bytes(6))).toBe(false);
  });
});
