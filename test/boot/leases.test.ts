/**
 * Leases that QEMU's user network cannot give, in a real machine. Our own DHCP server is at the other end of its
 * network card.
 */
import { describe, expect, it } from 'vitest';
import { text, uint32, type Message } from '../../packages/init/test/server.js';
import { application, nodeos } from '../support.js';
import { lan, type Lan } from './lan.js';

/** Sends a datagram and waits for its echo, then reports the machine's network setup. */
const LOOK = `
  const word = (hex) => [6, 4, 2, 0].map((at) => parseInt(hex.slice(at, at + 2), 16)).join('.');
  const look = () => ({
    resolv: fs.readFileSync('/etc/resolv.conf', 'utf8'),
    mtu: fs.readFileSync('/sys/class/net/eth0/mtu', 'utf8').trim(),
    routes: fs.readFileSync('/proc/net/route', 'utf8').trim().split('\\n').slice(1).map((line) => line.split('\\t'))
      .map(([name, to, via, , , , , mask]) => [name, word(to), word(mask), word(via)].join(' ')).sort(),
  });
  const echo = (address) => new Promise((resolve) => {
    const socket = require('dgram').createSocket('udp4');
    const timer = setInterval(() => socket.send('hello', 7, address, () => undefined), 200);
    socket.on('message', (data, { address }) => { clearInterval(timer); socket.close(); resolve(address + ' ' + data); });
  });
`;

/** Runs the body as an application, so that the console is captured too. */
async function inGuest(net: Lan, body: string): Promise<{ value: unknown; console: string }> {
  const main = `const fs = require('fs');
    ${LOOK}
    (async () => { ${body} })().then((v) => { console.log('VALUE ' + JSON.stringify(v)); process.exit(); });`;
  const app = await application({ 'main.js': main }, { nodeos: { user: 'root' } });
  const { status, stdout, stderr } = await nodeos('start', app, '--timeout', '60', '--no-network', '--', ...net.card);
  expect(status, stdout + stderr).toBe(0);
  return { value: JSON.parse(/^VALUE (.*)$/m.exec(stdout)?.[1] ?? 'null'), console: stdout };
}

/** The server's address lies outside the network. */
const ADDRESS = [203, 0, 113, 5];
const ALONE = [1, 255, 255, 255, 255] as const;

describe('a machine configures its network', () => {
  it('with a router outside its network, an MTU that its card refuses, and invalid names', async () => {
    const options: Message['options'] = [
      ALONE,
      [3, 192, 0, 2, 1],
      [6, 127, 0, 0, 1, 192, 0, 2, 53],
      [15, ...text('not a name')],
      [26, 0x23, 0x28],
      [51, ...uint32(3600)],
    ];
    const net = await lan(ADDRESS, options, options, 'host_mtu=1500');
    const { value, console } = await inGuest(net, `return { came: await echo('198.51.100.9'), ...look() };`);
    expect(value).toEqual({
      came: '198.51.100.9 hello',
      resolv: 'nameserver 192.0.2.53\n',
      mtu: '1500',
      routes: ['eth0 0.0.0.0 0.0.0.0 192.0.2.1', 'eth0 192.0.2.1 255.255.255.255 0.0.0.0'],
    });
    expect([...net.seen]).toEqual(['arp 192.0.2.1', 'echo 198.51.100.9']);
    // The kernel writes to the same console at any time: `[    2.224978] eth0: mtu greater than device maximum`.
    const ours = console.replaceAll(/\[ *\d+\.\d{6}\] .*/g, '');
    const lines = ours.match(/nodeos: network: .*/g)?.map((line) => line.trim());
    expect(lines).toEqual([
      'nodeos: network: eth0: the domain is left out: it is not a name',
      'nodeos: network: eth0: the name server 127.0.0.1 is left out: no machine of a network has this address',
      'nodeos: network: eth0: the MTU 9000 is left out: ioctl: EINVAL',
    ]);
  });

  it('with classless routes (option 121, split), and changed routes after a renewal', async () => {
    const routes = [0, 192, 0, 2, 1, 8, 10, 192, 0, 2, 9, 24, 198, 51, 100, 0, 0, 0, 0];
    const common: Message['options'] = [ALONE, [3, 203, 0, 113, 1], [26, 0, 40], [51, ...uint32(3600)]];
    const net = await lan(
      ADDRESS,
      [...common, [121, ...routes.slice(0, 7)], [121, ...routes.slice(7)]],
      [...common, [121, 0, 192, 0, 2, 7]],
    );
    const { value } = await inGuest(
      net,
      `const first = [await echo('10.9.9.9'), await echo('198.51.100.9'), await echo('8.8.8.8'), look().routes];
       await echo('10.0.0.77'); // the server's options change with it
       const leases = JSON.parse(fs.readFileSync('/run/nodeos/leases.json', 'utf8'));
       fs.writeFileSync('/run/nodeos/leases.json', JSON.stringify(leases.map((lease) => ({ ...lease, renewAt: 0 }))));
       const { spawnSync } = require('child_process');
       const stdio = ['ignore', 'pipe', 'pipe', 'pipe'];
       const { status, stderr, output } = spawnSync('/bin/node', ['/sbin/init', 'renew'], { stdio, encoding: 'utf8' });
       return { first, renewed: [status, stderr, output[3]], routes: look().routes };`,
    );
    expect(value).toMatchObject({
      first: [
        '10.9.9.9 hello',
        '198.51.100.9 hello',
        '8.8.8.8 hello',
        [
          'eth0 0.0.0.0 0.0.0.0 192.0.2.1',
          'eth0 10.0.0.0 255.0.0.0 192.0.2.9',
          'eth0 192.0.2.1 255.255.255.255 0.0.0.0',
          'eth0 192.0.2.9 255.255.255.255 0.0.0.0',
          'eth0 198.51.100.0 255.255.255.0 0.0.0.0',
        ],
      ],
      renewed: [0, '', 'renew 1800\n'],
      routes: ['eth0 0.0.0.0 0.0.0.0 192.0.2.7', 'eth0 192.0.2.7 255.255.255.255 0.0.0.0'],
    });
    expect(net.seen).toContain('arp 192.0.2.9');
    expect(net.seen).toContain('arp 198.51.100.9');
    expect(net.seen).not.toContain('arp 203.0.113.1');
  });
});
