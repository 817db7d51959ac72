import { describe, expect, it } from 'vitest';
import { addRoute, orderRoutes, removeRoute } from '../guest/routes.js';
import { Recorder, wiredMachine } from './recorder.js';

/** The messages to the kernel in hexadecimal. */
function sent(work: (sys: Recorder) => void): string[] {
  const sys = new Recorder(wiredMachine());
  const send = sys.send.bind(sys);
  const seen: string[] = [];
  sys.send = (fd, bytes, address) => {
    expect(address).toEqual(Buffer.from([16, 0, ...new Array<number>(10).fill(0)])); // sockaddr_nl: the kernel
    seen.push(bytes.toString('hex'));
    send(fd, bytes, address);
  };
  work(sys);
  expect(sys.trace.at(-1)).toMatch(/^close/);
  return seen;
}

describe('a route', () => {
  // The expected bytes are written by hand from linux/netlink.h and linux/rtnetlink.h.
  it('is requested with these bytes', () => {
    const gateway = { destination: '10.0.0.0', prefix: 8, gateway: '10.0.2.2' };
    expect(sent((sys) => addRoute(sys, 'eth0', gateway))).toEqual([
      '34000000' + '1800' + '0505' + '00000000' + '00000000' + // nlmsghdr: 52 bytes, RTM_NEWROUTE
        '02080000' + 'fe100001' + '00000000' + // rtmsg: AF_INET, /8, main table, by DHCP, universe, unicast
        '080001000a000000' + '0800040002000000' + '080005000a000202', // RTA_DST, RTA_OIF, RTA_GATEWAY
    ]); // prettier-ignore
    const onLink = { destination: '192.0.2.1', prefix: 32 };
    expect(sent((sys) => removeRoute(sys, 'eth0', onLink))).toEqual([
      '2c000000' + '1900' + '0500' + '00000000' + '00000000' + // RTM_DELROUTE
        '02200000' + 'fe10fd01' + '00000000' + // on the link
        '08000100c0000201' + '0800040002000000',
    ]); // prettier-ignore
    expect(sent((sys) => addRoute(sys, 'eth0', onLink, 300))).toEqual([
      '34000000' + '1800' + '0505' + '00000000' + '00000000' + '02200000' + 'fe10fd01' + '00000000' +
        '08000100c0000201' + '0800040002000000' + '080006002c010000', // RTA_PRIORITY
    ]); // prettier-ignore
  });

  it('fails if the kernel refuses or does not reply', () => {
    const sys = new Recorder(wiredMachine());
    const route = { destination: '0.0.0.0', prefix: 0, gateway: '10.0.2.2' };
    sys.failures.set('route', -101);
    expect(() => addRoute(sys, 'eth0', route)).toThrow('rtnetlink: ENETUNREACH');
    expect(sys.trace.at(-1)).toBe('close 10');
    sys.failures.clear();
    sys.receive = () => -1;
    expect(() => addRoute(sys, 'eth0', route)).toThrow('the kernel gives no answer');
    expect(sys.trace.at(-1)).toBe('close 11');
  });
});

describe('the order of routes', () => {
  const to = (destination: string, prefix: number, gateway?: string) => ({
    destination,
    prefix,
    ...(gateway === undefined ? {} : { gateway }),
  });

  it.each([
    ['a router within the network', 24, [to('0.0.0.0', 0, '10.0.2.2')], []],
    ['a router beside it', 24, [to('0.0.0.0', 0, '10.0.3.2')], [to('10.0.3.2', 32)]],
    ['any router beside an address alone', 32, [to('0.0.0.0', 0, '10.0.2.2')], [to('10.0.2.2', 32)]],
    ['two ways by it', 32, [to('0.0.0.0', 0, '10.0.2.2'), to('9.0.0.0', 8, '10.0.2.2')], [to('10.0.2.2', 32)]],
  ])('adds a route to %s if needed', (_, prefix, routes, added) => {
    expect(orderRoutes(routes, '10.0.2.15', prefix)).toEqual([...added, ...routes]);
  });

  it('adds none to a router that a route of the server covers', () => {
    const [way, link] = [to('0.0.0.0', 0, '192.0.2.1'), to('192.0.2.0', 24)];
    expect(orderRoutes([way, link], '10.0.2.15', 32)).toEqual([link, way]);
  });
});
