/** Time servers and name servers that are asked during the boot. The messages are built by hand from the RFCs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeAnswer, encodeQuestion, resolveName } from '../guest/dns.js';
import { runRole } from '../guest/roles.js';
import { askTime, decodeReply } from '../guest/sntp.js';
import { setTime } from '../guest/time.js';
import { Recorder, system, wiredMachine, type Wire } from './recorder.js';
import { server as dhcpServer } from './server.js';

const FLOOR = 1_788_220_800;
/** 2026-11-26T21:00:00.5Z in seconds since 1970 and since 1900: 3 939 411 600.5, RFC 5905, section 6. */
const NOW = 1_795_726_800.5;
const STAMP = [...uint32(1_795_726_800 + 2_208_988_800), 0x80, 0, 0, 0];

function uint32(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
}

interface Changes {
  readonly first?: number;
  readonly stratum?: number;
  readonly id?: string;
  readonly origin?: readonly number[];
  readonly stamp?: readonly number[];
}

/** RFC 5905, figure 8: leap, version and mode; stratum, poll, precision; delay, dispersion, id; four timestamps. */
function reply(
  query: Buffer,
  { first = 0x24, stratum = 2, id = 'GPS\0', origin, stamp = STAMP }: Changes = {},
): Buffer {
  const head = [first, stratum, 6, 0xec, 0, 0, 0, 1, 0, 0, 0, 2, ...Buffer.from(id, 'latin1')];
  return Buffer.from([...head, ...stamp, ...(origin ?? query.subarray(40, 48)), ...stamp, ...stamp]);
}

/** A time server at every address. */
const timeServer =
  (changes: Changes = {}): Wire =>
  (datagram, _to, port) => {
    if (port !== 123) return [];
    expect(datagram.length).toBe(48);
    expect(datagram[0]).toBe(0x23); // version 4, client
    expect(datagram.subarray(1, 40).every((byte) => byte === 0)).toBe(true);
    return [reply(datagram, changes)];
  };

const machine = (wire: Wire, files: Readonly<Record<string, string>> = {}): Recorder => {
  const sys = new Recorder({ '/etc/resolv.conf': 'search x\nnameserver 10.0.2.3\nnameserver 8.8.8.8\n', ...files });
  sys.wire = wire;
  return sys;
};

describe('a time server', () => {
  it('tells the time, with half of the way added', () => {
    // The recorder's clock moves by 1 ms while an answer arrives.
    expect(askTime(machine(timeServer()), '10.0.0.1', FLOOR)).toBeCloseTo(NOW + 0.0005, 5);
  });

  it.each<[string, Changes, string]>([
    ['refuses', { stratum: 0, id: 'RATE' }, 'it refuses (RATE)'],
    ['has no time itself', { first: 0xe4 }, 'its own clock is not set'],
    ['has a stratum that there is not', { stratum: 16 }, 'its own clock is not set'],
    ['says no time', { stamp: [0, 0, 0, 0, 0, 0, 0, 0] }, 'it says no time'],
    ['says a time before this system was made', { stamp: [0, 0, 0, 1, 0, 0, 0, 0] }, 'it says 2036-'],
    ['answers another request', { origin: [1, 2, 3, 4, 5, 6, 7, 8] }, 'no answer in 1 s'],
    ['is another client', { first: 0x23 }, 'no answer in 1 s'],
  ])('%s', (_name, changes, message) => {
    const ask = (): number => askTime(machine(timeServer(changes)), '10.0.0.1', FLOOR);
    if (message.includes('2036')) expect(new Date(ask() * 1000).toISOString()).toContain('2036-02-07T06:28:17');
    else expect(ask).toThrow(message);
  });

  it('with a time 50 years away is not believed', () => {
    const stamp = [...uint32(3_900_000_000), 0, 0, 0, 0]; // 2023, or 2159 in the next era
    expect(() => askTime(machine(timeServer({ stamp })), '10.0.0.1', FLOOR)).toThrow('it says 2159-');
  });

  it('says anything, and nothing breaks', () => {
    const nonce = Buffer.alloc(8, 7);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, isAnswer) => {
        const message = Buffer.from(bytes);
        if (isAnswer && message.length >= 32) nonce.copy(message, 24);
        const found = decodeReply(message, nonce, FLOOR);
        if (typeof found === 'object') expect(found.sent).toBeGreaterThanOrEqual(FLOOR);
      }),
      { numRuns: 2000 },
    );
  });
});

const QUESTION = encodeQuestion(0x1234, 'time.example.org');
const POINTER = [0xc0, 12];
const record = (type: number, data: readonly number[]): number[] => [
  ...POINTER,
  0,
  type,
  0,
  1,
  0,
  0,
  0,
  9,
  0,
  data.length,
  ...data,
];

/** RFC 1035, section 4.1.1. */
function answer(query: Buffer, records: readonly (readonly number[])[], flags = 0x8180): Buffer {
  const head = [query[0] ?? 0, query[1] ?? 0, flags >> 8, flags & 255, 0, 1, 0, records.length, 0, 0, 0, 0];
  return Buffer.from([...head, ...query.subarray(12), ...records.flat()]);
}

describe('a name server', () => {
  it('is asked for an address as RFC 1035 says', () => {
    expect(QUESTION.toString('latin1')).toBe(
      '\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x04time\x07example\x03org\0\0\x01\0\x01',
    );
  });

  it('tells addresses, also behind an alias', () => {
    const alias = record(5, [1, 97, ...POINTER]);
    expect(
      decodeAnswer(answer(QUESTION, [alias, record(1, [192, 0, 2, 9]), record(1, [192, 0, 2, 8])]), QUESTION),
    ).toEqual(['192.0.2.9', '192.0.2.8']);
  });

  it.each([
    ['another id', answer(encodeQuestion(1, 'time.example.org'), [])],
    ['another name', answer(encodeQuestion(0x1234, 'time.example.com'), [])],
    ['a question', QUESTION],
    ['nothing', Buffer.alloc(0)],
  ])('is not heard with %s', (_name, bytes) => expect(decodeAnswer(bytes, QUESTION)).toBeUndefined());

  it('says anything, and nothing breaks', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 65535 }), (bytes, count) => {
        const message = Buffer.concat([answer(QUESTION, []), Buffer.from(bytes)]);
        message.writeUInt16BE(count, 6);
        for (const address of decodeAnswer(message, QUESTION) ?? []) expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      }),
      { numRuns: 2000 },
    );
  });

  it('is the second one if the first one is silent', () => {
    const sys = machine((datagram, to) => (to === '8.8.8.8:53' ? [answer(datagram, [record(1, [192, 0, 2, 9])])] : []));
    expect(resolveName(sys, 'time.example.org')).toBe('192.0.2.9');
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.2.3:53', '8.8.8.8:53']);
    expect(sys.linesOf('socket').length).toBe(sys.linesOf('close').length);
  });

  it('is not needed for an address', () => {
    expect(
      resolveName(
        machine(() => expect.unreachable()),
        '192.0.2.1',
      ),
    ).toBe('192.0.2.1');
  });

  it.each([
    ['knows no such name', (datagram: Buffer) => [answer(datagram, [], 0x8183)], {}, 'no name server knows it'],
    [
      'tells an address that no machine has',
      (d: Buffer) => [answer(d, [record(1, [127, 0, 0, 1])])],
      {},
      'no name server',
    ],
    ['is not there', () => [], { '/etc/resolv.conf': '' }, 'there is no name server'],
  ])('%s', (_name, wire, files, message) => {
    expect(() => resolveName(machine(wire, files), 'time.example.org')).toThrow(`time.example.org: ${message}`);
  });
});

describe('the clock', () => {
  const both: Wire = (datagram, to, port) => (to === '10.0.0.2:123' ? timeServer()(datagram, to, port) : []);

  it('is set by the first server that answers', () => {
    const sys = machine(both);
    setTime(sys, ['10.0.0.1', '10.0.0.2', '10.0.0.3'], FLOOR, 0);
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.0.1:123', '10.0.0.2:123']);
    expect(sys.date).toBeCloseTo(NOW, 2);
  });

  it('stays if none answers, after six seconds at most', () => {
    const sys = machine(() => []);
    const started = sys.time;
    expect(() => setTime(sys, ['a.example', 'b.example', 'c.example', 'd.example'], FLOOR, 0)).toThrow(
      'a.example: no name server knows it; b.example: no name server knows it',
    );
    expect(sys.time - started).toBeLessThanOrEqual(6_000_000);
    expect(sys.linesOf('setClock')).toEqual([]);
  });

  it.each([
    [NOW - 0.4, 0],
    [NOW + 1.6, 1],
    [NOW - 100, 1],
  ])('that shows %s is set %s times with a tolerance of a second', (date, times) => {
    const sys = machine(timeServer());
    sys.date = Math.floor(date);
    setTime(sys, ['10.0.0.1'], FLOOR, 1);
    expect(sys.linesOf('setClock').length).toBe(times);
  });
});

describe('the boot asks the time servers', () => {
  const files = { ...system({ timeServers: ['10.0.0.1'] }), ...wiredMachine() };
  const wire =
    (time: Wire): Wire =>
    (datagram, to, port) =>
      port === 67 ? dhcpServer(datagram, to, port) : time(datagram, to, port);
  const commands = (sys: Recorder): string[] => sys.trace.filter((line) => line.startsWith('print 3 renew'));
  const quiet = { main: () => undefined, first: () => 0, supervise: () => undefined, end: () => undefined };

  it('after the network, and again with the next renewal', () => {
    const sys = new Recorder(files);
    sys.wire = wire(timeServer());
    expect(runRole('boot', sys, quiet)).toBe(true);
    expect(sys.date).toBeCloseTo(NOW, 2);
    expect(commands(sys)).toEqual(['print 3 renew 40000']); // that of the lease, which is earlier than a day
  });

  it('and again after two minutes if none answers', () => {
    const sys = new Recorder(files);
    sys.wire = wire(() => []);
    expect(runRole('boot', sys, quiet)).toBe(true);
    expect(commands(sys)).toEqual(['print 3 renew 40000', 'print 3 renew 120']);
    expect(sys.trace).toContain('print 2 nodeos: time: 10.0.0.1: no answer in 1 s');
    sys.wire = wire(timeServer());
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.date).toBeCloseTo(NOW, 2);
    expect(commands(sys).at(-1)).toMatch(/^print 3 renew (39999|40000)$/); // when the lease is due
  });

  it('not without a network', () => {
    const sys = new Recorder({ ...files, '/proc/cmdline': 'nodeos.network=off\n' });
    runRole('boot', sys, quiet);
    expect(sys.sent).toEqual([]);
  });
});
