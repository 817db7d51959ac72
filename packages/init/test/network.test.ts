import { describe, expect, it } from 'vitest';
import { LEASES, type Lease, type Log } from '../guest/lease.js';
import { bringUp, renew } from '../guest/network.js';
import { parseCommandLine } from '../guest/config.js';
import { runRole } from '../guest/roles.js';
import { MAC, Recorder, system, wiredMachine, type Wire } from './recorder.js';
import { ADDRESS, parseRequest, message, nak, reply, server, SERVER, SETTINGS, uint32 } from './server.js';

const quiet = (text: string): void => expect.unreachable(text);
const start = (sys: Recorder, line = '', say: Log = quiet): Lease | undefined =>
  bringUp(sys, parseCommandLine(line), 'web', say);
const machine = (files = wiredMachine(), wire: Wire = server): Recorder => {
  const sys = new Recorder(files);
  sys.wire = wire;
  return sys;
};
const DEFAULT = [{ destination: '0.0.0.0', prefix: 0, gateway: '10.0.2.2' }];
const BROADCAST = '255.255.255.255:67';
const waits = (sys: Recorder): number[] =>
  sys.sent.map(({ at }, index) => (sys.sent[index + 1]?.at ?? sys.time) - at).map((us) => Math.round(us / 1e6));

const ifreq = (name: string, value: string): string =>
  (Buffer.from(name).toString('hex').padEnd(32, '0') + value).replace(/(00)+$/, '');
const OPEN_PORT = (fd: number): string[] => [
  `socket 2 524290 0 = ${fd}`,
  `setsockopt ${fd} 1 2 01000000`,
  `setsockopt ${fd} 1 6 01000000`,
  `setsockopt ${fd} 1 25 6574683000`,
  `bind ${fd} 0.0.0.0:68`,
];

describe('bringing the network up by DHCP', () => {
  it('discovers, requests the offered address and configures it, in this order', () => {
    const sys = machine();
    const lease = start(sys);
    const kept = { ...lease };
    expect(kept).toMatchObject({
      interface: 'eth0',
      address: '10.0.2.15',
      server: '10.0.2.2',
      lease: 86400,
      renewal: 40000,
    });
    expect(sys.trace).toEqual([
      'socket 2 524290 0 = 10',
      `ioctl 10 0x8914 ${ifreq('lo', '41')}`,
      `ioctl 10 0x8914 ${ifreq('eth0', '41')}`,
      ...OPEN_PORT(11),
      `send 11 ${BROADCAST}`,
      'close 11',
      ...OPEN_PORT(12),
      `send 12 ${BROADCAST}`,
      'close 12',
      'write /etc/resolv.conf "search example.org\\nnameserver 10.0.2.3\\nnameserver 8.8.8.8\\n"',
      `ioctl 10 0x8922 ${ifreq('eth0', '78050000')}`,
      `ioctl 10 0x8916 ${ifreq('eth0', '020000000a00020f')}`,
      `ioctl 10 0x891c ${ifreq('eth0', '02000000ffffff00')}`,
      'socket 16 524291 0 = 13',
      'route replace 0.0.0.0/0 via 10.0.2.2 dev 2',
      'close 13',
      `write ${LEASES} ${JSON.stringify(JSON.stringify([lease]))}`,
      'close 10',
    ]);
  });

  it('sends the queries that RFC 2131 describes', () => {
    const sys = machine();
    start(sys);
    const [discover, request] = sys.sent.map(({ bytes }) => parseRequest(bytes));
    for (const one of [discover, request]) {
      expect(one?.flags).toBe(0x8000);
      expect(one?.ciaddr).toEqual([0, 0, 0, 0]);
      expect(one?.mac).toEqual(MAC);
      expect(one?.options.get(61)).toEqual([1, ...MAC]);
      expect(Buffer.from(one?.options.get(12) ?? []).toString()).toBe('web');
      expect(one?.options.get(55)).toEqual(expect.arrayContaining([1, 3, 6, 51, 54]));
    }
    expect(discover).toMatchObject({ type: 1 });
    expect(discover?.options.has(50) || discover?.options.has(54)).toBe(false);
    expect(request).toMatchObject({ type: 3 });
    expect(request?.options.get(50)).toEqual(ADDRESS);
    expect(request?.options.get(54)).toEqual(SERVER);
    // Table 5: a request has the transaction of the offer.
    expect(request?.xid).toBe(discover?.xid);
  });

  it('works without the optional parts of a reply', () => {
    const sys = machine(wiredMachine(), (datagram) => {
      const query = parseRequest(datagram);
      return [reply(query, query.type === 1 ? 2 : 5, [])];
    });
    expect(start(sys)).toMatchObject({ mask: '255.255.255.0', dns: [], lease: 3600, renewal: 1800 });
    expect(sys.ioctls.map(({ request }) => request)).toEqual([0x8914, 0x8914, 0x8916, 0x891c]);
    expect(sys.files.get('/etc/resolv.conf')).toBe('');
    expect(parseRequest(sys.sent[1]?.bytes ?? Buffer.alloc(0)).options.has(54)).toBe(false);
  });

  it('ignores garbage and messages for others', () => {
    const noise: Wire = (datagram) => {
      const query = parseRequest(datagram);
      const [offer = Buffer.alloc(0)] = server(datagram, '', 0);
      const options = SETTINGS;
      const other = Buffer.from('525400999999', 'hex');
      return [
        Buffer.alloc(0),
        Buffer.from('hello'),
        Buffer.alloc(1500, 0xff),
        datagram, // our own query
        message({ xid: query.xid + 1, mac: MAC, options: [[53, 2], ...options], yiaddr: [1, 1, 1, 1] }),
        message({ xid: query.xid, mac: other, options: [[53, 5], ...options], yiaddr: [1, 1, 1, 1] }),
        message({ xid: query.xid, mac: MAC, options, yiaddr: [1, 1, 1, 1] }), // BOOTP: no type
        message({ xid: query.xid, mac: MAC, options: [[53, 8]], yiaddr: [1, 1, 1, 1] }),
        message({ xid: query.xid, mac: MAC, cookie: [1, 2, 3, 4], options: [[53, 2]], yiaddr: [1, 1, 1, 1] }),
        reply(query, query.type === 1 ? 5 : 2), // the reply to the other query
        offer,
      ];
    };
    const sys = machine(wiredMachine(), noise);
    expect(start(sys)).toMatchObject({ address: '10.0.2.15' });
    expect(sys.sent).toHaveLength(2);
  });

  it('does not wait longer because of a flood', () => {
    const sys = machine(wiredMachine(), () => new Array<Buffer>(20_000).fill(Buffer.from('flood')));
    expect(() => start(sys)).toThrow('eth0: no DHCP server answered in 10 s');
    expect(waits(sys)).toEqual([1, 2, 3, 4]);
  });
});

describe('a network that fails', () => {
  it('reports that there is no interface', () => {
    const sys = machine({ '/sys/class/net/lo/address': '00:00:00:00:00:00' });
    expect(() => start(sys)).toThrow('there is no network interface');
    expect(sys.trace.at(-1)).toBe('close 10');
  });

  it('waits for an interface on a USB bus, which appears late', () => {
    const files = wiredMachine();
    const sys = machine({ '/sys/class/net/lo/address': '00:00:00:00:00:00', '/sys/bus/usb/devices/usb1': '' });
    const sleep = sys.sleep.bind(sys);
    sys.sleep = (milliseconds) => {
      sleep(milliseconds);
      if (sys.time < 3e6) return;
      for (const [path, content] of Object.entries(files)) sys.files.set(path, content);
    };
    expect(start(sys)).toMatchObject({ address: '10.0.2.15' });
  });

  it('gives up a USB bus without an interface after five seconds', () => {
    const sys = machine({ '/sys/class/net/lo/address': '00:00:00:00:00:00', '/sys/bus/usb/devices/usb1': '' });
    const before = sys.time;
    expect(() => start(sys)).toThrow('there is no network interface');
    expect(sys.time - before).toBe(5_000_000);
  });

  it('waits five seconds for a link', () => {
    const sys = machine(wiredMachine('eth0', '0'));
    const before = sys.time;
    expect(() => start(sys)).toThrow('eth0: no link');
    expect(sys.time - before).toBe(5_000_000);
    expect(sys.sent).toEqual([]);
  });

  it('sends four queries to a silent server with increasing timeouts', () => {
    const sys = machine(wiredMachine(), () => []);
    expect(() => start(sys)).toThrow('eth0: no DHCP server answered in 10 s');
    expect(waits(sys)).toEqual([1, 2, 3, 4]);
    expect(sys.sent.map(({ bytes }) => parseRequest(bytes).secs)).toEqual([0, 1, 3, 6]);
    expect(new Set(sys.sent.map(({ bytes }) => parseRequest(bytes).xid)).size).toBe(1);
    expect(sys.linesOf('close')).toEqual(['close 11', 'close 10']);
  });

  it('names a server that offers and then stays silent', () => {
    const sys = machine(wiredMachine(), (datagram) => {
      const query = parseRequest(datagram);
      return query.type === 1 ? [reply(query, 2)] : [];
    });
    expect(() => start(sys)).toThrow('eth0: the DHCP server 10.0.2.2 offered 10.0.2.15, then fell silent');
    expect(sys.sent.map(({ bytes }) => parseRequest(bytes).type)).toEqual([1, 3, 3, 3, 3]);
  });

  it('names a server that refuses its own offer', () => {
    const sys = machine(wiredMachine(), (datagram) => {
      const query = parseRequest(datagram);
      return [query.type === 1 ? reply(query, 2) : nak(query)];
    });
    expect(() => start(sys)).toThrow('eth0: the DHCP server 10.0.2.2 refused 10.0.2.15, its own offer');
    expect(sys.files.has(LEASES)).toBe(false);
  });

  it('uses the next interface if one has no link, cannot be brought up or cannot send', () => {
    const two = { ...wiredMachine('eth0', '0'), ...wiredMachine('eth1') };
    expect(start(machine(two))).toMatchObject({ interface: 'eth1' });
    for (const [line, error] of [
      [`ioctl 10 0x8914 ${ifreq('eth0', '41')}`, -5],
      ['send 11', -100],
    ] as const) {
      const sys = machine({ ...wiredMachine('eth0'), ...wiredMachine('eth1') });
      sys.failures.set(line, error);
      expect(start(sys)).toMatchObject({ interface: 'eth1' });
    }
  });

  it('names every failed interface', () => {
    const sys = machine({ ...wiredMachine('eth0', '0'), ...wiredMachine('eth1') }, () => []);
    sys.failures.set('send', -100);
    expect(() => start(sys)).toThrow('eth0: no link; eth1: send: ENETDOWN');
  });

  it('is reported by the boot, which requests another attempt', () => {
    const sys = machine({
      ...wiredMachine(),
      ...system({ name: 'web' }),
    });
    sys.wire = () => [];
    runRole('boot', sys, { main: () => undefined, first: () => 0, supervise: () => undefined, end: () => undefined });
    expect(sys.trace).toContain('print 2 nodeos: network: eth0: no DHCP server answered in 10 s');
    expect(sys.trace).toContain('print 3 renew 30');
  });
});

describe('the setup of the kernel', () => {
  const files = (pnp: string): Record<string, string> => ({ ...wiredMachine(), '/proc/net/pnp': pnp });

  it.each([
    ['ip=10.0.0.2::10.0.0.1:255.255.255.0:web:eth0:off', '#MANUAL\n', ''],
    ['ip=10.0.0.2:::::eth0:off:1.1.1.1', '#MANUAL\nnameserver 1.1.1.1\n', 'nameserver 1.1.1.1\n'],
  ])('with %s is kept', (line, pnp, resolv) => {
    const sys = machine(files(pnp));
    expect(start(sys, line)).toBeUndefined();
    expect(sys.sent).toEqual([]);
    expect(sys.trace).toEqual([
      'socket 2 524290 0 = 10',
      `ioctl 10 0x8914 ${ifreq('lo', '41')}`,
      `write /etc/resolv.conf ${JSON.stringify(resolv)}`,
      'close 10',
    ]);
  });

  const BY_DHCP = '#PROTO: DHCP\ndomain example.org\nnameserver 10.0.2.3\nnameserver 0.0.0.0\nbootserver 10.0.2.2\n';
  const byDhcp = (wire: Wire = server): Recorder => {
    const sys = machine({ ...files(BY_DHCP), ...wiredMachine('enp2s0') }, wire);
    // The first interface has no address.
    sys.failures.set(`ioctl 10 0x8915 ${ifreq('enp2s0', '02')}`, -99);
    sys.answers.set(0x8915, Buffer.from([2, 0, 0, 0, ...ADDRESS]));
    sys.answers.set(0x891b, Buffer.from([2, 0, 0, 0, 255, 255, 255, 0]));
    return sys;
  };

  it('with ip=dhcp is kept unchanged and renewed soon', () => {
    const sys = byDhcp();
    const lease = start(sys, 'ip=dhcp');
    expect(lease).toMatchObject({ interface: 'eth0', address: '10.0.2.15', mask: '255.255.255.0', renewal: 60 });
    expect(sys.sent).toEqual([]);
    expect(sys.trace).toEqual([
      'socket 2 524290 0 = 10',
      `ioctl 10 0x8914 ${ifreq('lo', '41')}`,
      'write /etc/resolv.conf "search example.org\\nnameserver 10.0.2.3\\n"',
      ...['enp2s0', 'eth0'].map((name) => `ioctl 10 0x8915 ${ifreq(name, '02')}`),
      `ioctl 10 0x891b ${ifreq('eth0', '02')}`,
      `write ${LEASES} ${JSON.stringify(JSON.stringify([lease]))}`,
      'close 10',
    ]);
  });

  it('with ip=dhcp is renewed by asking for the current address', () => {
    const sys = byDhcp();
    const before = start(sys, 'ip=dhcp');
    if (!before) throw new Error('no lease');
    const lease = renew(sys, before, 'web', quiet);
    expect(sys.sent.map(({ to }) => to)).toEqual([BROADCAST]);
    expect(lease).toMatchObject({ interface: 'eth0', address: '10.0.2.15', lease: 86400, renewal: 40000 });
  });

  it('with ip=dhcp but without an address is left alone', () => {
    const sys = byDhcp();
    sys.failures.set('ioctl 10 0x8915', -99);
    expect(start(sys, 'ip=dhcp')).toBeUndefined();
  });

  it('is complete when programs see the interface, or after a time limit', () => {
    const state = '/sys/class/net/eth0/operstate';
    const slow = machine({ ...files(''), [state]: 'down\n' });
    const before = slow.now();
    const sleep = slow.sleep.bind(slow);
    slow.sleep = (milliseconds) => {
      sleep(milliseconds);
      if (slow.now() - before >= 300_000) slow.files.set(state, 'up\n');
    };
    start(slow, 'ip=dhcp');
    expect(slow.now() - before).toBe(300_000);

    const never = machine({ ...files(''), [state]: 'down\n' });
    const began = never.now();
    start(never, 'ip=dhcp');
    expect(never.now() - began).toBe(2_000_000);
  });

  it.each(['ip=off', 'ip=none', ''])('does not exist with %j', (line) => {
    expect(start(machine(files('')), line)).toMatchObject({ address: '10.0.2.15' });
  });
});

describe('renewing', () => {
  /** Microseconds until a lease of the server is to be renewed. */
  const DUE = 40_000 * 1e6;
  const leased = (wire: Wire): Recorder => {
    const sys = machine();
    start(sys);
    sys.trace.length = sys.sent.length = 0;
    sys.time += DUE;
    sys.wire = wire;
    return sys;
  };
  const held = (sys: Recorder): Lease | undefined => (JSON.parse(sys.files.get(LEASES) ?? '') as Lease[])[0];

  it('asks the server itself for the current address', () => {
    const sys = leased((datagram) => [reply(parseRequest(datagram), 5, [[51, ...uint32(600)]])]);
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.2.2:67']);
    const query = parseRequest(sys.sent[0]?.bytes ?? Buffer.alloc(0));
    expect(query).toMatchObject({ type: 3, ciaddr: ADDRESS, flags: 0 });
    // RFC 2131, 4.3.2: in the RENEWING state, neither option is allowed.
    expect(query.options.has(50) || query.options.has(54)).toBe(false);
    expect(sys.trace).toContain('print 3 renew 300');
    expect(held(sys)).toMatchObject({ address: '10.0.2.15', lease: 600, routes: DEFAULT, domain: 'example.org' });
  });

  it('happens every 30 s at most', () => {
    const sys = leased((datagram) => [reply(parseRequest(datagram), 5, [[51, 0, 0, 0, 1]])]);
    runRole('renew', sys);
    expect(sys.trace).toContain('print 3 renew 30');
  });

  it('leaves a lease alone that is not due, and comes back in time', () => {
    const sys = leased(server);
    const before = sys.files.get(LEASES);
    sys.time -= 1000 * 1e6;
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent).toEqual([]);
    expect(sys.files.get(LEASES)).toBe(before);
    expect(sys.trace.filter((line) => line.startsWith('print 3'))).toEqual(['print 3 renew 1000']);
  });

  it('broadcasts if the server does not reply', () => {
    const sys = leased((datagram, to) => (to === '255.255.255.255:67' ? server(datagram, to, 67) : []));
    runRole('renew', sys);
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.2.2:67', BROADCAST]);
    expect(held(sys)).toMatchObject({ address: '10.0.2.15' });
  });

  it('gets a new lease after a NAK, without any part of the old one', () => {
    const sys = leased((datagram) => {
      const query = parseRequest(datagram);
      if (query.ciaddr.join('.') !== '0.0.0.0') return [nak(query)];
      const options = [
        [53, query.type === 1 ? 2 : 5],
        [54, ...SERVER],
      ] as const;
      return [message({ xid: query.xid, mac: MAC, yiaddr: [192, 168, 7, 9], options })];
    });
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent.map(({ bytes }) => parseRequest(bytes).type)).toEqual([3, 1, 3]);
    expect(held(sys)).toEqual({
      type: 5,
      address: '192.168.7.9',
      mask: '255.255.255.0',
      dns: [],
      lease: 3600,
      renewal: 1800,
      server: '10.0.2.2',
      leftOut: [],
      interface: 'eth0',
      metric: 0,
      renewAt: expect.any(Number) as number,
    });
    expect(sys.trace).toContain('route delete 0.0.0.0/0 via 10.0.2.2 dev 2');
  });

  it('names the interface if nobody replies, and keeps the lease', () => {
    const sys = leased(() => []);
    expect(runRole('renew', sys)).toBe(false);
    expect(sys.trace.at(-1)).toBe('print 2 nodeos: renew: eth0: no DHCP server answered in 10 s');
    expect(sys.trace).toContain('print 3 renew 60');
    expect(sys.sent).toHaveLength(8);
    expect(held(sys)).toMatchObject({ address: '10.0.2.15' });
  });

  it('starts from the beginning without a lease', () => {
    const sys = machine();
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.trace).toContain('print 3 renew 40000');
  });

  it('does not change a lease because of a reply to another machine', () => {
    const sys = machine();
    const lease = start(sys);
    sys.wire = (datagram) => [message({ xid: parseRequest(datagram).xid, mac: Buffer.alloc(6), options: [[53, 5]] })];
    expect(() => renew(sys, lease as Lease, 'web', quiet)).toThrow('no DHCP server answered');
  });
});

describe('parts of a lease', () => {
  const leasing = (options: typeof SETTINGS): Wire => {
    return (datagram) => {
      const query = parseRequest(datagram);
      return [reply(query, query.type === 1 ? 2 : 5, options)];
    };
  };
  /** Runs the setup. Returns its messages and the lease. */
  const setUp = (sys: Recorder): { said: string[]; lease: Lease | undefined } => {
    const said: string[] = [];
    return { lease: start(sys, '', (text) => said.push(text)), said };
  };
  const routesOf = (sys: Recorder): string[] => sys.linesOf('route');

  it.each([
    ['ioctl 10 0x8922', 'MTU 1400', 'ioctl: EINVAL'],
    ['ioctl 10 0x891c', 'mask 255.255.255.0', 'ioctl: EINVAL'],
    ['route replace 0.0.0.0/0', 'route to 0.0.0.0/0 by 10.0.2.2', 'rtnetlink: EINVAL'],
    ['write /etc/resolv.conf', 'list of name servers', 'write: EINVAL'],
    [`write ${LEASES}`, 'note of the lease, for its renewal,', 'write: EINVAL'],
  ])('fail independently: %s', (line, what, why) => {
    const [whole, sys] = [machine(), machine()];
    const { lease: expected } = setUp(whole);
    sys.failures.set(line, -22);
    const { said, lease } = setUp(sys);
    const words = `the ${what} is left out: ${why}`;
    expect(said).toEqual([`eth0: ${words}`]);
    expect(lease).toMatchObject({ address: '10.0.2.15', routes: DEFAULT });
    // All other parts are configured as if nothing had failed.
    const others = (trace: readonly string[]): string[] => trace.filter((text) => !text.startsWith(`write ${LEASES}`));
    expect(others(sys.trace)).toEqual(others(whole.trace));
    expect(expected?.leftOut).toEqual([]);
  });

  it('include the address, without which there are only name servers', () => {
    const sys = machine();
    sys.failures.set('ioctl 10 0x8916', -22);
    expect(() => setUp(sys)).toThrow('eth0: the address 10.0.2.15: ioctl: EINVAL');
    expect(sys.files.get('/etc/resolv.conf')).toContain('nameserver 10.0.2.3');
    expect(sys.files.has(LEASES)).toBe(false);
  });

  it('are named on the console together with the step', () => {
    const sys = machine({
      ...wiredMachine(),
      ...system({ name: 'web' }),
    });
    sys.failures.set('ioctl 10 0x8922', -22);
    runRole('boot', sys, { main: () => undefined, first: () => 0, supervise: () => undefined, end: () => undefined });
    expect(sys.trace).toContain('print 2 nodeos: network: eth0: the MTU 1400 is left out: ioctl: EINVAL');
    expect(sys.trace).toContain('print 3 renew 40000');
  });

  it('can be a router outside the network, as clouds assign it', () => {
    const sys = machine(
      wiredMachine(),
      leasing([
        [1, 255, 255, 255, 255],
        [3, 192, 0, 2, 1],
      ]),
    );
    expect(setUp(sys).said).toEqual([]);
    expect(routesOf(sys)).toEqual(['route replace 192.0.2.1/32 dev 2', 'route replace 0.0.0.0/0 via 192.0.2.1 dev 2']);
  });

  it('can be routes, those on the link before those through their gateways', () => {
    const routes = [0, 192, 0, 2, 1, 8, 10, 10, 0, 2, 9, 16, 172, 16, 192, 0, 2, 1, 24, 198, 51, 100, 0, 0, 0, 0];
    const sys = machine(
      wiredMachine(),
      leasing([
        [1, 255, 255, 255, 0],
        [3, ...SERVER],
        [121, ...routes],
      ]),
    );
    expect(setUp(sys).said).toEqual([]);
    expect(routesOf(sys)).toEqual([
      'route replace 198.51.100.0/24 dev 2',
      'route replace 192.0.2.1/32 dev 2',
      'route replace 0.0.0.0/0 via 192.0.2.1 dev 2',
      'route replace 10.0.0.0/8 via 10.0.2.9 dev 2',
      'route replace 172.16.0.0/16 via 192.0.2.1 dev 2',
    ]);
  });

  it('are corrected by a renewal and reported only once', () => {
    const bad = [1, 255, 255, 255, 255] as const;
    const first = [bad, [26, 0, 40], [121, 0, 192, 0, 2, 1, 8, 10, 192, 0, 2, 1]] as const;
    const sys = machine(wiredMachine(), leasing(first));
    const { said } = setUp(sys);
    expect(said).toEqual(['eth0: the MTU 40 is left out: IPv4 needs 576 at least']);
    sys.trace.length = 0;
    sys.time += 3600 * 1e6;
    sys.wire = leasing([bad, [26, 0, 40], [6, 127, 0, 0, 1], [121, 0, 192, 0, 2, 7]]);
    expect(runRole('renew', sys)).toBe(true);
    expect(routesOf(sys)).toEqual([
      'route replace 192.0.2.7/32 dev 2',
      'route replace 0.0.0.0/0 via 192.0.2.7 dev 2',
      'route delete 10.0.0.0/8 via 192.0.2.1 dev 2',
      'route delete 192.0.2.1/32 dev 2',
    ]);
    expect(sys.trace.filter((line) => line.startsWith('print 2'))).toEqual([
      'print 2 nodeos: renew: eth0: the name server 127.0.0.1 is left out: no machine of a network has this address',
    ]);
  });
});

describe('an impossible address', () => {
  const offering = (address: readonly number[], then: readonly number[] = address): Wire => {
    return (datagram) => {
      const { xid, type } = parseRequest(datagram);
      const say = (yiaddr: readonly number[]): Buffer =>
        message({
          xid,
          mac: MAC,
          yiaddr,
          options: [
            [53, type === 1 ? 2 : 5],
            [54, ...SERVER],
          ],
        });
      return [say(address), say(then)];
    };
  };

  it.each([
    [0, 0, 0, 0],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [239, 255, 255, 255],
    [255, 255, 255, 255],
  ])('is not accepted as an offer: %i.%i.%i.%i', (...address) => {
    const sys = machine(wiredMachine(), offering(address));
    const why = `eth0: the DHCP server 10.0.2.2 offers ${address.join('.')}, which no machine can have`;
    expect(() => start(sys)).toThrow(why);
    expect(sys.files.has(LEASES)).toBe(false);
  });

  it('does not prevent an offer of another server from being accepted', () => {
    const sys = machine(wiredMachine(), offering([127, 0, 0, 1], ADDRESS));
    expect(start(sys)).toMatchObject({ address: '10.0.2.15' });
  });
});
