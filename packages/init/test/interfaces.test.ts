import { checkConfig } from '../../cli/config/settle.js';
import { machineSettings } from '../../app/settings.js';
import type { SystemConfig } from '@nodeos/contract';
import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../guest/config.js';
import { setUpNetwork, type Network } from '../guest/interfaces.js';
import { LEASES, type Lease } from '../guest/lease.js';
import { machineSetupOf, type MachineSetup } from '../guest/machine.js';
import { runRole } from '../guest/roles.js';
import { MAC, Recorder, system, wiredMachine } from './recorder.js';
import { message, parseRequest, server, text, uint32 } from './server.js';

/** What the init makes of a configuration: it is checked and written by the build, and read by the init. */
const setupOf = (config: object): MachineSetup => {
  const written = machineSettings(checkConfig(config, 'test', '/'));
  return machineSetupOf(JSON.parse(JSON.stringify(written)) as SystemConfig);
};

const machine = (files = wiredMachine()): Recorder => {
  const sys = new Recorder(files);
  sys.wire = server;
  return sys;
};

function setUp(
  sys: Recorder,
  network: object,
  { line = '', log = expect.unreachable }: { line?: string; log?: (text: string) => void } = {},
): Network {
  const setup = setupOf({ network });
  if (setup.network === 'off') throw new Error('no network');
  return setUpNetwork(sys, parseCommandLine(line), 'web', setup.network, log);
}

/** Microseconds until a lease of the server is to be renewed. */
const DUE = 40_000 * 1e6;
const NOTHING: Network = { kept: [], renewed: [], failures: [] };
const ETH0 = { address: '192.168.1.10/24', gateway: '192.168.1.1' };
const SECOND = {
  '/sys/class/net/eth1/address': '52:54:00:00:00:99\n',
  '/sys/class/net/eth1/carrier': '1\n',
  '/sys/class/net/eth1/operstate': 'up\n',
  '/sys/class/net/eth1/ifindex': '3\n',
  '/sys/class/net/eth1/device/vendor': '0x1af4\n',
};
const address = (sys: Recorder): string[] =>
  sys.ioctls
    .filter(({ request }) => request === 0x8916)
    .map(({ argument }) => {
      const bytes = argument as Buffer;
      return `${bytes.toString('latin1', 0, 16).replace(/\0+$/, '')} ${[...bytes.subarray(20, 24)].join('.')}`;
    });

describe('a static address', () => {
  it('is set with its mask, MTU, routes and name servers, and nothing is asked', () => {
    const sys = machine();
    const routes = { '10.0.0.0/8': '192.168.1.2' };
    const network = setUp(sys, {
      interfaces: { eth0: { ...ETH0, routes, mtu: 1400 } },
      dns: ['192.168.1.53'],
      domain: 'example.org',
    });
    expect(network).toMatchObject(NOTHING);
    expect(sys.sent).toEqual([]);
    expect(address(sys)).toEqual(['eth0 192.168.1.10']);
    expect(sys.linesOf('write', 'route')).toEqual([
      'write /etc/resolv.conf "search example.org\\nnameserver 192.168.1.53\\n"',
      'route replace 10.0.0.0/8 via 192.168.1.2 dev 2',
      'route replace 0.0.0.0/0 via 192.168.1.1 dev 2',
    ]);
    const requests = sys.ioctls.map(({ request }) => request.toString(16));
    expect(requests).toEqual(['8914', '8914', '8922', '8916', '891c']);
    const mask = sys.ioctls.at(-1)?.argument as Buffer;
    expect([...mask.subarray(20, 24)]).toEqual([255, 255, 255, 0]);
    expect(sys.files.has(LEASES)).toBe(false);
  });

  it('does not wait for a link, but until the kernel says that each interface with one is running', () => {
    const carrier = (value: string): Recorder =>
      machine({ ...wiredMachine('eth0', value), ...SECOND, '/sys/class/net/eth0/operstate': 'down\n' });
    const interfaces = { eth0: ETH0, eth1: { address: '10.9.0.1/16' } };
    const [unplugged, linked] = [carrier('0'), carrier('1')];
    setUp(unplugged, { interfaces });
    expect(unplugged.time - new Recorder().time).toBeLessThan(100_000);
    setUp(linked, { interfaces });
    expect(linked.time - new Recorder().time).toBeGreaterThanOrEqual(2_000_000);
    expect(linked.time - new Recorder().time).toBeLessThan(2_100_000);
  });

  it('with a router outside of its network', () => {
    const sys = machine();
    setUp(sys, { interfaces: { eth0: { address: '203.0.113.5/32', gateway: '192.0.2.1' } } });
    expect(sys.linesOf('route')).toEqual([
      'route replace 192.0.2.1/32 dev 2',
      'route replace 0.0.0.0/0 via 192.0.2.1 dev 2',
    ]);
  });

  it('is found by the MAC address, beside DHCP on another interface', () => {
    const sys = machine({ ...wiredMachine(), ...SECOND });
    const { renewed, failures } = setUp(sys, {
      interfaces: { '52:54:00:00:00:99': { address: '10.9.0.1/16' }, eth0: 'dhcp' },
      dns: ['9.9.9.9'],
    });
    expect(address(sys)).toEqual(['eth1 10.9.0.1', 'eth0 10.0.2.15']);
    expect(failures).toEqual([]);
    expect(renewed).toMatchObject([{ interface: 'eth0', dns: ['9.9.9.9'] }]);
    expect(sys.files.get('/etc/resolv.conf')).toBe('search example.org\nnameserver 9.9.9.9\n');
  });

  it('with a router keeps the default route, also at a renewal of DHCP on another interface', () => {
    const network = { interfaces: { eth0: { address: '10.9.0.1/16', gateway: '10.9.0.2' }, eth1: 'dhcp' } };
    const sys = machine({ ...wiredMachine(), ...SECOND, ...system({ network }) });
    setUp(sys, network);
    sys.time += DUE;
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent).toHaveLength(3);
    expect(new Set(sys.linesOf('route'))).toEqual(new Set(['route replace 0.0.0.0/0 via 10.9.0.2 dev 2']));
  });

  it('that the kernel refuses does not hold up the others', () => {
    const sys = machine({ ...wiredMachine(), ...SECOND });
    sys.failures.set('ioctl 10 0x8916 65746830', -22); // eth0
    const interfaces = { eth0: ETH0, eth1: { address: '10.9.0.1/16' }, eth7: { address: '10.7.0.1/16' } };
    expect(setUp(sys, { interfaces }).failures).toEqual([
      'eth7: there is no such interface, but eth0, eth1',
      'eth0: the address 192.168.1.10: ioctl: EINVAL',
    ]);
    expect(address(sys)).toContain('eth1 10.9.0.1');
  });

  it('leaves out a route that the kernel refuses, and says so', () => {
    const sys = machine();
    sys.failures.set('route replace 10.0.0.0/8', -101);
    const lines: string[] = [];
    const interfaces = { eth0: { ...ETH0, routes: { '10.0.0.0/8': '192.168.1.2' } } };
    setUp(sys, { interfaces }, { log: (text) => lines.push(text) });
    expect(lines).toEqual(['eth0: the route to 10.0.0.0/8 by 192.168.1.2 is left out: rtnetlink: ENETUNREACH']);
  });

  it('gives way to what the kernel has set up', () => {
    const sys = machine({ ...wiredMachine(), '/proc/net/pnp': '#PROTO: STATIC\nnameserver 10.0.2.3\n' });
    setUp(sys, { interfaces: { eth0: ETH0 } }, { line: 'ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none' });
    expect(address(sys)).toEqual([]);
  });
});

describe('DHCP on several interfaces', () => {
  const network = { interfaces: { eth1: 'dhcp', eth0: 'dhcp' } };
  /** The server of eth1 has another network and shorter leases; its machine has its own MAC address. */
  const two: Recorder['wire'] = (datagram) => {
    const query = parseRequest(datagram);
    if (!query.mac.equals(MAC))
      return [
        message({
          ...{ xid: query.xid, mac: query.mac, yiaddr: [10, 0, 3, 15] },
          options: [
            [53, query.type === 1 ? 2 : 5],
            [1, 255, 255, 255, 0],
            [3, 10, 0, 3, 2],
            [6, 10, 0, 3, 3, 8, 8, 8, 8],
            [15, ...text('example.net')],
            [51, ...uint32(7200)],
            [54, 10, 0, 3, 2],
          ],
        }),
      ];
    return server(datagram, '', 67);
  };
  const both = (): Recorder => {
    const sys = machine({ ...wiredMachine(), ...SECOND, ...system({ network }) });
    sys.wire = two;
    return sys;
  };
  const quiet = { main: () => undefined, first: () => 0, supervise: () => undefined, end: () => undefined };
  const held = (sys: Recorder): Lease[] => JSON.parse(sys.files.get(LEASES) ?? '[]') as Lease[];
  const renewals = (sys: Recorder): string[] => sys.trace.filter((line) => line.startsWith('print 3 renew'));

  it('gives each its lease; the first one of the configuration has the preferred routes and name servers', () => {
    const sys = both();
    expect(runRole('boot', sys, quiet)).toBe(true);
    expect(address(sys)).toEqual(['eth1 10.0.3.15', 'eth0 10.0.2.15']);
    expect(sys.linesOf('route')).toEqual([
      'route replace 0.0.0.0/0 via 10.0.3.2 dev 3',
      'route replace 0.0.0.0/0 via 10.0.2.2 dev 2 metric 100',
    ]);
    expect(sys.files.get('/etc/resolv.conf')).toBe(
      'search example.net example.org\nnameserver 10.0.3.3\nnameserver 8.8.8.8\nnameserver 10.0.2.3\n',
    );
    expect(sys.files.get('/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown')).toBe('1');
    expect(held(sys).map((lease) => lease.interface)).toEqual(['eth1', 'eth0']);
    expect(renewals(sys)).toEqual(['print 3 renew 3600']);
  });

  it('renews each in its time, and keeps the order', () => {
    const sys = both();
    runRole('boot', sys, quiet);
    const resolv = sys.files.get('/etc/resolv.conf');
    const [, other] = held(sys);
    sys.time += 3600 * 1e6;
    sys.trace.length = sys.sent.length = 0;
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.3.2:67']);
    expect(held(sys)[1]).toEqual(other);
    expect(sys.linesOf('route')).toEqual(['route replace 0.0.0.0/0 via 10.0.3.2 dev 3']);
    expect(sys.files.get('/etc/resolv.conf')).toBe(resolv);
    expect(renewals(sys).at(-1)).toBe('print 3 renew 3600');
    sys.time += 36_400 * 1e6;
    sys.trace.length = sys.sent.length = 0;
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent.map(({ to }) => to)).toEqual(['10.0.3.2:67', '10.0.2.2:67']);
    expect(sys.linesOf('route').at(-1)).toBe('route replace 0.0.0.0/0 via 10.0.2.2 dev 2 metric 100');
  });

  it('tries one that failed again, and leaves the other one alone', () => {
    const sys = both();
    sys.files.set('/sys/class/net/eth1/carrier', '0\n');
    runRole('boot', sys, quiet);
    expect(sys.trace).toContain('print 2 nodeos: network: eth1: no link');
    expect(sys.files.get('/etc/resolv.conf')).toMatch(/^search example.org\nnameserver 10.0.2.3\n/);
    expect(renewals(sys)).toEqual(['print 3 renew 40000', 'print 3 renew 30']);
    sys.sent.length = sys.trace.length = 0;
    expect(runRole('renew', sys)).toBe(false);
    expect(sys.sent).toEqual([]);
    expect(renewals(sys).at(-1)).toBe('print 3 renew 60');
    sys.files.set('/sys/class/net/eth1/carrier', '1\n');
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.sent).toHaveLength(2);
    expect(held(sys).map((lease) => lease.interface)).toEqual(['eth1', 'eth0']);
    expect(sys.files.get('/etc/resolv.conf')).toMatch(/^search example.net example.org\nnameserver 10.0.3.3\n/);
  });

  it('waits for all links at once', () => {
    const sys = both();
    for (const name of ['eth0', 'eth1']) sys.files.set(`/sys/class/net/${name}/carrier`, '0\n');
    const before = sys.time;
    expect(setUp(sys, network).failures).toEqual(['eth1: no link', 'eth0: no link']);
    expect(sys.time - before).toBe(5_000_000);
  });
});

describe('the configuration of a machine', () => {
  const quiet = { main: () => undefined, first: () => 0, supervise: () => undefined, end: () => undefined };
  const boot = (config: object, line = ''): Recorder => {
    const sys = machine({
      ...wiredMachine(),
      ...system(machineSettings(checkConfig(config, 'test', '/'))),
      '/proc/cmdline': `${line}\n`,
    });
    expect(runRole('boot', sys, quiet)).toBe(true);
    return sys;
  };

  it('names it, unless the command line does', () => {
    expect(boot({ hostname: 'Box-1' }).linesOf('setHostName')).toEqual(['setHostName box-1']);
    expect(boot({ hostname: 'box' }, 'nodeos.hostname=other').linesOf('setHostName')).toEqual(['setHostName other']);
  });

  it('turns its network off', () => expect(boot({ network: 'off' }).linesOf('socket')).toEqual([]));

  it('replaces the name servers of DHCP, also at a renewal', () => {
    const sys = boot({ network: { dns: ['9.9.9.9'], domain: 'home' } });
    expect(sys.files.get('/etc/resolv.conf')).toBe('search home\nnameserver 9.9.9.9\n');
    sys.files.set('/etc/resolv.conf', '');
    sys.time += DUE;
    expect(runRole('renew', sys)).toBe(true);
    expect(sys.files.get('/etc/resolv.conf')).toBe('search home\nnameserver 9.9.9.9\n');
  });

  it('asks for no renewal of a static address, but tries again if it failed', () => {
    const renewals = (sys: Recorder): string[] => sys.trace.filter((line) => line.startsWith('print 3 renew'));
    expect(renewals(boot({ network: { interfaces: { eth0: ETH0 } } }))).toEqual([]);
    const sys = boot({ network: { interfaces: { eth3: ETH0 } } });
    expect(renewals(sys)).toEqual(['print 3 renew 30']);
    expect(sys.trace).toContain('print 2 nodeos: network: eth3: there is no such interface, but eth0');
  });

  it.each([
    [{ network: 'maybe' }, 'network is no object'],
    [{ network: { dns: ['x'] } }, 'network.dns is no IPv4 address'],
    [{ network: { interfaces: { eth0: { address: '10.0.0.1' } } } }, 'network.interfaces.eth0.address has no length'],
    [{ timeServers: 'x' }, 'timeServers is no list'],
    [{ hostname: 5 }, 'hostname is no text'],
  ])('that no build writes is refused: %j', (settings, message) => {
    expect(() => machineSetupOf(settings as unknown as SystemConfig)).toThrow(message);
  });
});
