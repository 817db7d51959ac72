import { isIPv4 } from 'node:net';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { ACK, addressBytes, decodeReply, encodeQuery, type Query, type Reply } from '../guest/dhcp.js';
import { MAC } from './recorder.js';
import { asked, message, SETTINGS, text, uint32, type Message } from './server.js';

const XID = 0x89abcdef;
const QUERY: Query = { type: 1, transaction: XID, mac: MAC, seconds: 7, hostName: 'web' };
const decode = (changes: Partial<Message> = {}): Reply | undefined =>
  decodeReply(message({ xid: XID, mac: MAC, options: [[53, 5], ...SETTINGS], ...changes }), QUERY);
const withOption = (...option: [number, ...number[]]): Reply | undefined => decode({ options: [[53, 5], option] });

describe('a query', () => {
  it('has these bytes', () => {
    const bytes = encodeQuery(QUERY);
    expect(bytes.subarray(0, 12).toString('hex')).toBe('0101060089abcdef00078000');
    expect(bytes.subarray(12, 28)).toEqual(Buffer.alloc(16));
    expect(bytes.subarray(28, 44).toString('hex')).toBe(MAC.toString('hex').padEnd(32, '0'));
    expect(bytes.subarray(44, 236)).toEqual(Buffer.alloc(192));
    expect(bytes.subarray(236).toString('hex')).toBe(
      `638253633501013d07015254001234560c0377656237090103060c0f1a33363aff`.padEnd(128, '0'),
    );
    expect(bytes).toHaveLength(300);
  });

  it('carries what it should, whatever that is', () => {
    const address = fc.ipV4();
    const queries = fc.record({
      type: fc.constantFrom<1 | 3>(1, 3),
      transaction: fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
      mac: fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
      seconds: fc.nat(),
      hostName: fc.string({ unit: 'binary', maxLength: 300 }),
      requested: address,
      server: address,
    });
    fc.assert(
      fc.property(queries, (query) => {
        const seen = asked(encodeQuery(query));
        expect(seen).toMatchObject({ type: query.type, xid: query.transaction >>> 0, mac: query.mac });
        expect(seen.secs).toBe(Math.min(query.seconds, 65535));
        expect(seen.options.get(50)?.join('.')).toBe(query.requested);
        expect(seen.options.get(54)?.join('.')).toBe(query.server);
        expect(seen.options.get(12)?.length ?? 0).toBeLessThanOrEqual(63);
      }),
    );
  });

  it('from who has an address says so', () => {
    expect(asked(encodeQuery({ ...QUERY, current: '192.168.1.20' }))).toMatchObject({
      ciaddr: [192, 168, 1, 20],
      flags: 0,
    });
  });

  it('is not made of what is no address', () => {
    expect(() => encodeQuery({ ...QUERY, requested: '10.0.0' })).toThrow('not an IPv4 address: 10.0.0');
    expect(() => addressBytes('1.2.3.256')).toThrow(RangeError);
  });
});

describe('a reply', () => {
  it('is read', () => {
    expect(decode()).toEqual({
      type: ACK,
      address: '10.0.2.15',
      mask: '255.255.255.0',
      router: '10.0.2.2',
      dns: ['10.0.2.3', '8.8.8.8'],
      domain: 'example.org',
      mtu: 1400,
      server: '10.0.2.2',
      lease: 86400,
      renewal: 40000,
    });
  });

  it.each([
    ['another transaction', { xid: XID + 1 }],
    ['another machine', { mac: Buffer.alloc(6) }],
    ['a request', { op: 1 }],
    ['no magic cookie', { cookie: [0, 0, 0, 0] }],
    ['no type', { options: SETTINGS }],
    ['an empty type', { options: [[53]] as const }],
  ])('with %s is none', (_, changes) => {
    expect(decode(changes)).toBeUndefined();
  });

  it.each<[string, [number, ...number[]], Partial<Reply>]>([
    ['an odd number of address bytes', [6, 1, 2, 3, 4, 5], { dns: ['1.2.3.4'] }],
    ['a router cut short', [3, 10, 0], {}],
    ['a lease of two bytes', [51, 0, 60], { lease: 3600, renewal: 1800 }],
    ['an endless lease', [51, ...uint32(0xffffffff)], { lease: 0xffffffff }],
    ['an MTU below what IPv4 allows', [26, 0, 68], {}],
    ['a host name', [12, ...text('box-7.example'), 0], { hostName: 'box-7.example' }],
    ['a name with a newline', [15, ...text('a\nnameserver 6.6.6.6')], {}],
    ['an empty name', [12], {}],
  ])('takes from %s only what is sound', (_, option, expected) => {
    const plain = withOption(200);
    const got = withOption(...option);
    expect(got).toEqual({ ...plain, ...expected, ...(expected.lease === 0xffffffff ? { renewal: got?.renewal } : {}) });
  });

  it('skips padding, and stops at the end mark and where an option is cut off', () => {
    expect(decode({ options: [], tail: [0, 0, 53, 1, 5, 0, 3, 4, 1, 2, 3, 4, 255, 3, 4, 9, 9, 9, 9] })?.router).toBe(
      '1.2.3.4',
    );
    expect(decode({ options: [[53, 5]], tail: [3, 4, 1, 2] })?.router).toBeUndefined();
    expect(decode({ options: [[53, 5]], tail: [3] })?.router).toBeUndefined();
    expect(decode({ options: [[53, 5]], tail: [] })?.type).toBe(5);
  });

  it('renews no later than the lease ends', () => {
    expect(
      decode({
        options: [
          [53, 5],
          [51, ...uint32(60)],
          [58, ...uint32(600)],
        ],
      })?.renewal,
    ).toBe(60);
  });
});

describe('any bytes', () => {
  const sound = (reply: Reply | undefined): void => {
    if (!reply) return;
    for (const address of [reply.address, reply.mask, ...reply.dns]) expect(isIPv4(address)).toBe(true);
    for (const address of [reply.router, reply.server]) if (address !== undefined) expect(isIPv4(address)).toBe(true);
    for (const name of [reply.domain, reply.hostName]) if (name !== undefined) expect(name).toMatch(/^[\w.-]{1,253}$/);
    expect(reply.lease).toBeGreaterThanOrEqual(0);
    expect(reply.renewal).toBeLessThanOrEqual(reply.lease);
    expect(reply.dns.length).toBeLessThanOrEqual(63);
    if (reply.mtu !== undefined) expect(reply.mtu).toBeGreaterThanOrEqual(576);
  };

  it('are no trouble', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => sound(decodeReply(Buffer.from(bytes), QUERY))));
  });

  it('as options are no trouble either', () => {
    const options = fc.array(
      fc.tuple(
        fc.oneof(fc.constantFrom(1, 3, 6, 12, 15, 26, 51, 54, 58), fc.nat(254)),
        fc.array(fc.nat(255), { maxLength: 255 }),
      ),
    );
    fc.assert(
      fc.property(options, fc.array(fc.nat(255), { maxLength: 40 }), (list, tail) => {
        const reply = decode({ options: [[53, 5], ...list.map(([code, value]) => [code, ...value] as const)], tail });
        sound(reply);
      }),
    );
  });

  it('as a damaged reply are no trouble', () => {
    const whole = message({ xid: XID, mac: MAC, options: [[53, 5], ...SETTINGS] });
    fc.assert(
      fc.property(
        fc.nat(whole.length),
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255))),
        (length, changes) => {
          const bytes = Buffer.from(whole);
          for (const [at, value] of changes) bytes[at] = value;
          sound(decodeReply(bytes.subarray(0, length), QUERY));
        },
      ),
    );
  });
});
