/**
 * A fuzzer for conversations. It makes valid messages from a seed, corrupts them, splits them into writes of any size,
 * and plays them to a peer. The same seed gives the same bytes. The fuzzer knows nothing of the peer: a `Player`
 * provides the messages and the peer, so it works for clients as well as for servers.
 */
import { Duplex } from 'node:stream';
import { random as numbers } from '../../block/random.js';
import { ERROR } from '../wire/protocol.js';

export interface Random {
  /** A whole number from 0 to `below` - 1. */
  int(below: number): number;
  /** True with this probability, in percent. */
  percent(share: number): boolean;
  pick<T>(all: readonly T[]): T;
  bytes(length: number): Buffer;
}

/** The same sequence on every machine for the same seed. */
export function random(seed: number): Random {
  const next = numbers(seed);
  const int = (below: number): number => Math.floor(next() * below);
  return {
    int,
    percent: (share) => next() * 100 < share,
    pick: (all) => all[int(all.length)] as (typeof all)[number],
    bytes: (length) => Buffer.alloc(length, Buffer.from([int(256), int(256), int(256)])),
  };
}

export interface Player {
  /** The messages of one side of a valid conversation. */
  messages(dice: Random): Buffer[];
  /**
   * Plays the writes, then ends its side.
   * @returns once the peer has ended too
   * @throws Error for an answer that no input excuses
   */
  play(writes: readonly Buffer[], dice: Random): Promise<void>;
}

/**
 * Errors that a corrupted conversation may cause: by code or, without a code, by message. Any other error is our
 * mistake.
 */
const EXPECTED: { readonly codes: ReadonlySet<string>; readonly messages: readonly RegExp[] } = {
  codes: new Set(['EPROTO', ...Object.keys(ERROR), 'ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']),
  messages: [
    /^the (peer|server) closed the connection$/,
    /^the connection (was lost|is closed)$/,
    /^the server ended the connection when asked for the export /,
    /^\w+ was refused: /,
    /^\d+ bytes at \d+ are outside a device of \d+ bytes$/,
  ],
};

const isExpected = ({ code, message }: NodeJS.ErrnoException): boolean =>
  code === undefined ? EXPECTED.messages.some((words) => words.test(message)) : EXPECTED.codes.has(code);

/** @throws the error if it, or one of its causes, is our mistake */
export function assertExpected(error: unknown): void {
  for (let cause = error; cause !== undefined; cause = cause.cause)
    if (!(cause instanceof Error && isExpected(cause))) throw error;
}

export interface Figures {
  sessions: number;
  messages: number;
  bytes: number;
}

/** Milliseconds that a peer has to end after its input has ended. */
const PATIENCE = 20_000;

/**
 * @param seed seed of the first session; each further session uses the next higher one
 * @throws Error that names the seed of the failed session
 */
export async function fuzz(player: Player, seed: number, messages: number): Promise<Figures> {
  const figures: Figures = { sessions: 0, messages: 0, bytes: 0 };
  let current = seed;
  const logSeed = (): void => console.error(`in the session of the seed ${current}:`);
  process.on('uncaughtExceptionMonitor', logSeed);
  try {
    for (; figures.messages < messages; current++) {
      const dice = random(current);
      const sent = mutated(player.messages(dice), dice);
      const writes = split(Buffer.concat(sent), dice);
      await withTimeout(player.play(writes, dice)).catch((cause: unknown) => {
        throw new Error(`the session of the seed ${current}`, { cause });
      });
      figures.sessions++;
      figures.messages += sent.length;
      figures.bytes += writes.reduce((sum, { length }) => sum + length, 0);
    }
  } finally {
    process.off('uncaughtExceptionMonitor', logSeed);
  }
  return figures;
}

async function withTimeout(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`it has not ended after ${PATIENCE} ms`)), PATIENCE);
  });
  await Promise.race([work, timeout]).finally(() => clearTimeout(timer));
}

type Mutation = (all: Buffer[], dice: Random) => void;

/** Numbers that are likely to break something. */
const EDGES = [0, 1, 2, 511, 4096, 4097, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 20, 1 << 25, (1 << 26) + 1];

/**
 * A random position for a number of `size` bytes. Most numbers are in headers, at multiples of 4 or, if they are small,
 * of 2.
 */
function placeOf(message: Buffer, size: number, dice: Random): number | undefined {
  const step = Math.min(size, 4);
  const places = Math.floor((Math.min(message.length, 48) - size) / step) + 1;
  return places > 0 ? step * dice.int(places) : undefined;
}

const MUTATIONS: readonly Mutation[] = [
  function flipABit(all, dice) {
    const message = dice.pick(all);
    const at = dice.int(message.length);
    if (message.length > 0) message[at] = (message[at] ?? 0) ^ (1 << dice.int(8));
  },
  function putAnEdge(all, dice) {
    const message = dice.pick(all);
    const at = placeOf(message, 4, dice);
    if (at !== undefined) message.writeUInt32BE(dice.pick(EDGES), at);
  },
  function putOnes(all, dice) {
    const message = dice.pick(all);
    const at = placeOf(message, 8, dice);
    if (at !== undefined) message.fill(0xff, at, at + 8);
  },
  function putSmallNumber(all, dice) {
    const message = dice.pick(all);
    const at = placeOf(message, 2, dice);
    if (at !== undefined) message.writeUInt16BE(dice.int(40), at);
  },
  function cutTheEnd(all, dice) {
    const index = dice.int(all.length);
    all.splice(index + 1);
    all[index] = (all[index] as Buffer).subarray(0, dice.int((all[index] as Buffer).length + 1));
  },
  function cutOne(all, dice) {
    const index = dice.int(all.length);
    all[index] = (all[index] as Buffer).subarray(0, dice.int((all[index] as Buffer).length + 1));
  },
  function repeatOne(all, dice) {
    all.splice(dice.int(all.length), 0, Buffer.from(dice.pick(all)));
  },
  function exchangeTwo(all, dice) {
    const [first, second] = [dice.int(all.length), dice.int(all.length)];
    [all[first], all[second]] = [all[second] as Buffer, all[first] as Buffer];
  },
  function leaveOneOut(all, dice) {
    if (all.length > 1) all.splice(dice.int(all.length), 1);
  },
  function addRubbish(all, dice) {
    all.splice(dice.int(all.length), 0, dice.bytes(dice.int(200)));
  },
];

/** Corrupts four of five conversations, and leaves the fifth unchanged. */
function mutated(messages: readonly Buffer[], dice: Random): Buffer[] {
  const all = messages.map((message) => Buffer.from(message));
  if (dice.percent(20)) return all;
  for (let times = 1 + dice.int(3); times > 0; times--) dice.pick(MUTATIONS)(all, dice);
  return all;
}

/** Splits the bytes into one piece, a few, or many tiny ones. */
function split(bytes: Buffer, dice: Random): Buffer[] {
  const largest = dice.pick([bytes.length + 1, bytes.length + 1, 4096, 300, 40, 5]);
  if (bytes.length / largest > 2000) return [bytes];
  const writes: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = 1 + dice.int(largest);
    writes.push(bytes.subarray(at, at + length));
    at += length;
  }
  return writes;
}

/** Two ends of a connection in memory: bytes written to one end are read from the other. */
export function pair(): [Duplex, Duplex] {
  class End extends Duplex {
    other: End | undefined;
    #taken: (() => void) | undefined;
    override _read(): void {
      const taken = this.#taken;
      this.#taken = undefined;
      taken?.();
    }
    #receive(bytes: Buffer | null, taken: () => void): void {
      // A lost end accepts everything, like a kernel's buffer.
      if (this.destroyed || this.push(bytes) || bytes === null) taken();
      else this.#taken = taken;
    }
    override _write(bytes: Buffer, _encoding: string, done: () => void): void {
      process.nextTick(() => (this.other ? this.other.#receive(Buffer.from(bytes), done) : done()));
    }
    override _final(done: () => void): void {
      process.nextTick(() => (this.other ? this.other.#receive(null, done) : done()));
    }
    override _destroy(error: Error | null, done: (error: Error | null) => void): void {
      const { other } = this;
      this.other = undefined;
      this._read();
      process.nextTick(() => {
        if (other && !other.readableEnded) other.destroy();
      });
      done(error);
    }
  }
  const [first, two] = [new End(), new End()];
  first.other = two;
  two.other = first;
  return [first, two];
}
