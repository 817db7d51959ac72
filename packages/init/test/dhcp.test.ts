import { isIPv4 } from 'node:net';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { ACK, addressBytes, decodeReply, encodeQuery, type Query, type Reply } from '../guest/dhcp.js';
import { MAC } from './recorder.js';
import { parseRequest, message, SETTINGS, text, uint32, type Message } from './server.js';

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
      `638253633501013d07015254001234560c037765623709017903060f1a33363aff`.padEnd(128, '0'),
    );
    expect(bytes).toHaveLength(300);
  });

  it('carries any values', () => {
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
        const seen = parseRequest(encodeQuery(query));
        expect(seen).toMatchObject({ type: query.type, xid: query.transaction >>> 0, mac: query.mac });
        expect(seen.secs).toBe(Math.min(query.seconds, 65535));
        expect(seen.options.get(50)?.join('.')).toBe(query.requested);
        expect(seen.options.get(54)?.join('.')).toBe(query.server);
        expect(seen.options.get(12)?.length ?? 0).toBeLessThanOrEqual(63);
      }),
    );
  });

  it('from a client with an address contains the address', () => {
    expect(parseRequest(encodeQuery({ ...QUERY, current: '192.168.1.20' }))).toMatchObject({
      ciaddr: [192, 168, 1, 20],
      flags: 0,
    });
  });

  it('rejects text that is not an address', () => {
    expect(() => encodeQuery({ ...QUERY, requested: '10.0.0' })).toThrow('not an IPv4 address: 10.0.0');
    expect(() => addressBytes('1.2.3.256')).toThrow(RangeError);
  });
});

describe('a reply', () => {
  it('is decoded', () => {
    expect(decode()).toEqual({
      type: ACK,
      address: '10.0.2.15',
      mask: '255.255.255.0',
      routes: [{ destination: '0.0.0.0', prefix: 0, gateway: '10.0.2.2' }],
      dns: ['10.0.2.3', '8.8.8.8'],
      domain: 'example.org',
      mtu: 1400,
      server: '10.0.2.2',
      lease: 86400,
      renewal: 40000,
      leftOut: [],
    });
  });

  it.each([
    ['another transaction', { xid: XID + 1 }],
    ['another machine', { mac: Buffer.alloc(6) }],
    ['a request', { op: 1 }],
    ['no magic cookie', { cookie: [0, 0, 0, 0] }],
    ['no type', { options: SETTINGS }],
    ['an empty type', { options: [[53]] as const }],
  ])('with %s is ignored', (_, changes) => {
    expect(decode(changes)).toBeUndefined();
  });

  it.each<[string, [number, ...number[]], Partial<Reply>]>([
    ['an odd number of address bytes', [6, 1, 2, 3, 4, 5], { dns: ['1.2.3.4'] }],
    ['a router cut short', [3, 10, 0], {}],
    ['a lease of two bytes', [51, 0, 60], { lease: 3600, renewal: 1800 }],
    ['an endless lease', [51, ...uint32(0xffffffff)], { lease: 0xffffffff }],
    ['an empty name', [15], {}],
  ])('with %s yields only valid values', (_, option, expected) => {
    const plain = withOption(200);
    const got = withOption(...option);
    expect(got).toEqual({ ...plain, ...expected, ...(expected.lease === 0xffffffff ? { renewal: got?.renewal } : {}) });
  });

  it('skips padding, and stops at the end mark and at a truncated option', () => {
    const router = (changes: Partial<Message>): string | undefined => decode(changes)?.routes?.[0]?.gateway;
    expect(router({ options: [], tail: [0, 0, 53, 1, 5, 0, 3, 4, 1, 2, 3, 4, 255, 3, 4, 9, 9, 9, 9] })).toBe('1.2.3.4');
    expect(router({ options: [[53, 5]], tail: [3, 4, 1, 2] })).toBeUndefined();
    expect(router({ options: [[53, 5]], tail: [3] })).toBeUndefined();
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

describe('an invalid part of a reply', () => {
  const DEFAULT = { destination: '0.0.0.0', prefix: 0 };

  it.each<[string, [number, ...number[]], string, Partial<Reply>]>([
    ['MTU 68', [26, 0, 68], 'IPv4 needs 576 at least', {}],
    ['domain', [15, ...text('a\nnameserver 6.6.6.6')], 'it is not a name', {}],
    ['mask 255.0.255.0', [1, 255, 0, 255, 0], 'it is not ones and then zeros', {}],
    ['mask 0.0.0.0', [1, 0, 0, 0, 0], 'it is not ones and then zeros', {}],
    ['router 0.0.0.0', [3, 0, 0, 0, 0], 'no machine of a network has this address', {}],
    [
      'router 224.0.0.1',
      [3, 224, 0, 0, 1, 10, 0, 2, 9],
      'no machine of a network has this address',
      { routes: [{ ...DEFAULT, gateway: '10.0.2.9' }] },
    ],
    [
      'name server 127.0.0.53',
      [6, 127, 0, 0, 53, 10, 0, 2, 3],
      'no machine of a network has this address',
      { dns: ['10.0.2.3'] },
    ],
    ['name server 255.255.255.255', [6, 255, 255, 255, 255], 'no machine of a network has this address', {}],
    ['list of routes', [121], '', {}],
    ['list of routes', [121, 33, 10, 0, 0, 0, 0, 10, 0, 2, 2], 'byte 0 of it makes no sense', {}],
    ['list of routes', [121, 0, 10, 0, 2, 2, 8, 10, 10, 0, 2], 'byte 5 of it makes no sense', {}],
    [
      'list of routes',
      [121, ...new Array<number[]>(65).fill([0, 1, 1, 1, 1]).flat().slice(0, 255)],
      '',
      { routes: new Array(51).fill({ ...DEFAULT, gateway: '1.1.1.1' }) },
    ],
    [
      'gateway 127.0.0.1',
      [121, 0, 127, 0, 0, 1, 8, 10, 10, 0, 2, 2],
      'no machine of a network has this address',
      { routes: [{ destination: '10.0.0.0', prefix: 8, gateway: '10.0.2.2' }] },
    ],
  ])('is reported and left out alone: %s, %j', (what, option, why, expected) => {
    const words = why === '' ? [] : [`the ${what} is left out: ${why}`];
    expect(withOption(...option)).toEqual({ ...withOption(200), ...expected, leftOut: words });
  });

  it('includes routes beyond the maximum', () => {
    const part = new Array<number[]>(40).fill([0, 1, 1, 1, 1]).flat();
    const reply = decode({
      options: [
        [53, 5],
        [121, ...part],
        [121, ...part],
      ],
    });
    expect(reply).toMatchObject({ leftOut: ['the list of routes is left out: there are more than 64'] });
    expect(reply?.routes).toBeUndefined();
  });
});

describe('routes', () => {
  it.each<[string, number[], object[]]>([
    // RFC 3442: the examples of destination descriptors.
    ['0', [0, 10, 0, 2, 2], [{ destination: '0.0.0.0', prefix: 0, gateway: '10.0.2.2' }]],
    ['10', [8, 10, 10, 0, 2, 2], [{ destination: '10.0.0.0', prefix: 8, gateway: '10.0.2.2' }]],
    ['10.17', [16, 10, 17, 10, 0, 2, 2], [{ destination: '10.17.0.0', prefix: 16, gateway: '10.0.2.2' }]],
    ['10.27.129', [24, 10, 27, 129, 10, 0, 2, 2], [{ destination: '10.27.129.0', prefix: 24, gateway: '10.0.2.2' }]],
    [
      '10.229.0.128/25',
      [25, 10, 229, 0, 128, 10, 0, 2, 2],
      [{ destination: '10.229.0.128', prefix: 25, gateway: '10.0.2.2' }],
    ],
    [
      '10.198.122.47/32',
      [32, 10, 198, 122, 47, 10, 0, 2, 2],
      [{ destination: '10.198.122.47', prefix: 32, gateway: '10.0.2.2' }],
    ],
    ['one on the link', [32, 10, 9, 9, 9, 0, 0, 0, 0], [{ destination: '10.9.9.9', prefix: 32 }]],
    [
      'bits behind the prefix',
      [9, 10, 255, 10, 0, 2, 2],
      [{ destination: '10.128.0.0', prefix: 9, gateway: '10.0.2.2' }],
    ],
  ])('are decoded: %s', (_, bytes, routes) => {
    expect(withOption(121, ...bytes)?.routes).toEqual(routes);
  });

  it('take precedence over the router, even without a default route', () => {
    const routes = [{ destination: '10.0.0.0', prefix: 8, gateway: '10.0.2.9' }];
    expect(
      decode({
        options: [
          [53, 5],
          [3, 10, 0, 2, 2],
          [121, 8, 10, 10, 0, 2, 9],
        ],
      }),
    ).toMatchObject({ routes });
  });

  it('can be split anywhere, with other options in between (RFC 3396)', () => {
    const whole = [8, 10, 10, 0, 2, 9, 32, 10, 9, 9, 9, 0, 0, 0, 0, 0, 10, 0, 2, 2];
    const expected = withOption(121, ...whole)?.routes;
    expect(expected).toHaveLength(3);
    for (let cut = 0; cut <= whole.length; cut++) {
      const parts = [whole.slice(0, cut), whole.slice(cut)] as const;
      const options = [
        [53, 5],
        [121, ...parts[0]],
        [51, ...uint32(60)],
        [121, ...parts[1]],
      ] as const;
      expect(decode({ options })).toMatchObject({ routes: expected, lease: 60 });
    }
  });

  it('survive encoding and decoding', () => {
    const route = fc.record({
      prefix: fc.nat(32),
      bytes: fc.uint8Array({ minLength: 4, maxLength: 4 }),
      gateway: fc.constantFrom([0, 0, 0, 0], [10, 0, 2, 2], [192, 0, 2, 255]),
    });
    fc.assert(
      fc.property(fc.array(route, { minLength: 1, maxLength: 27 }), (list) => {
        const written = list.flatMap(({ prefix, bytes, gateway }) => [
          prefix,
          ...bytes.subarray(0, Math.ceil(prefix / 8)),
          ...gateway,
        ]);
        const read = withOption(121, ...written)?.routes ?? [];
        expect(read).toHaveLength(list.length);
        for (const [index, { prefix, bytes, gateway }] of list.entries()) {
          const bits = (text: readonly number[]): string =>
            text.map((byte) => byte.toString(2).padStart(8, '0')).join('');
          const got = read[index];
          expect(bits((got?.destination ?? '').split('.').map(Number))).toBe(
            bits([...bytes])
              .slice(0, prefix)
              .padEnd(32, '0'),
          );
          expect(got?.prefix).toBe(prefix);
          expect(got?.gateway).toBe(gateway[0] === 0 ? undefined : gateway.join('.'));
        }
      }),
    );
  });
});

describe('any bytes', () => {
  const sound = (reply: Reply | undefined): void => {
    if (!reply) return;
    const routes = reply.routes ?? [];
    const gateways = routes.flatMap(({ gateway }) => gateway ?? []);
    const destinations = routes.map(({ destination }) => destination);
    for (const address of [reply.address, reply.mask, ...reply.dns, ...gateways, ...destinations])
      expect(isIPv4(address)).toBe(true);
    for (const address of [...reply.dns, ...gateways])
      expect(address).not.toMatch(/^(0|127|22[4-9]|23\d)\.|^255\.255\.255\.255$/);
    for (const { prefix } of routes) expect(prefix >= 0 && prefix <= 32).toBe(true);
    if (reply.server !== undefined) expect(isIPv4(reply.server)).toBe(true);
    if (reply.domain !== undefined) expect(reply.domain).toMatch(/^[\w.-]{1,253}$/);
    for (const words of reply.leftOut) expect(words).toMatch(/^[\x20-\x7e]+$/);
    expect(routes.length).toBeLessThanOrEqual(64);
    expect(reply.lease).toBeGreaterThanOrEqual(0);
    expect(reply.renewal).toBeLessThanOrEqual(reply.lease);
    expect(reply.dns.length).toBeLessThanOrEqual(16);
    if (reply.mtu !== undefined) expect(reply.mtu).toBeGreaterThanOrEqual(576);
  };

  it('are handled as a message', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => sound(decodeReply(Buffer.from(bytes), QUERY))));
  });

  it('are handled as options', () => {
    const options = fc.array(
      fc.tuple(
        fc.oneof(fc.constantFrom(1, 3, 6, 15, 26, 51, 54, 58, 121), fc.nat(254)),
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

  it('are handled as damage to a reply', () => {
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
