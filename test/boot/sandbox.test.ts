/** The isolation of a machine from its host: QEMU's sandbox, and a restricted network. */
import { createServer } from 'node:net';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { application, request, exec, freePort, start, valueOf } from '../support.js';

/** Connects to a port on the host's loopback and to the network's name server. */
const reaching = (port: number): string => `
  const net = require('net');
  const reach = (port, host) => new Promise((resolve) => {
    const socket = net.connect({ port, host, timeout: 3000 });
    const end = (word) => () => { socket.destroy(); resolve(word); };
    socket.on('data', end('answered')).on('error', end('refused')).on('timeout', end('nothing'));
  });
  return [await reach(${port}, '10.0.2.2'), os.networkInterfaces().eth0.length > 0];`;

/** A service on the host's loopback. */
async function service(): Promise<number> {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as { port: number }).port;
}

describe('a guest', () => {
  it('reaches services on the loopback of the host unless it is restricted', async () => {
    const code = reaching(await service());
    expect(await valueOf(code)).toEqual(['answered', true]);
    const [answer, hasAddress] = (await valueOf(code, '--restrict')) as [string, boolean];
    expect(answer).not.toBe('answered');
    expect(hasAddress).toBe(true);
  });

  it('is reachable through a published port even if it is restricted', async () => {
    const port = await freePort();
    const app = await application({ 'main.js': "require('http').createServer((_, r) => r.end('here')).listen(80);" });
    const machine = start(['start', app, '--restrict', '--publish', `${port}:80`]);
    expect(await (await request(`http://127.0.0.1:${port}`)).text()).toBe('here');
    machine.child.kill('SIGINT');
    expect((await machine.ended).status).toBe(130);
  });
});

describe("QEMU's sandbox", () => {
  /** The seccomp state of the QEMU with a word on its command line: `Seccomp` of proc(5); 2 means a filter. */
  const stateOf = (word: string): string[] =>
    readdirSync('/proc').flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        if (!line.startsWith('qemu-system') || !line.includes(word)) return [];
        const status = readFileSync(`/proc/${pid}/status`, 'latin1');
        return [/^NoNewPrivs:\t.*$/m, /^Seccomp:\t.*$/m].map((row) => row.exec(status)?.[0] ?? '');
      } catch {
        return [];
      }
    });

  it.each([
    [[], ['NoNewPrivs:\t1', 'Seccomp:\t2']],
    [
      ['--', '-sandbox', 'off'],
      ['NoNewPrivs:\t0', 'Seccomp:\t0'],
    ],
  ])('is on unless the user disables it: %j', async (args, expected) => {
    const word = `nodeos.hostname=h${process.pid}-${args.length}`;
    const code = "console.log('up'); setTimeout(() => 0, 60000)";
    const machine = start(['start', '--append', word, '--exec', code, ...args]);
    await machine.waitForOutput(/^up$/m);
    const own = /^Seccomp:\t0$/m.test(readFileSync('/proc/self/status', 'latin1'));
    if (own || args.length === 0) expect(stateOf(word)).toEqual(expected);
    machine.child.kill('SIGINT');
    await machine.ended;
  });

  it('ends a QEMU that starts a program, and the error says how to allow it', async () => {
    const network = ['-netdev', 'user,id=own,guestfwd=tcp:10.0.2.100:7-cmd:/bin/cat'];
    const device = ['-device', 'virtio-net-pci,netdev=own,romfile='];
    const code = `const s = require('net').connect(7, '10.0.2.100', () => s.write('echo')); s.on('data', (d) => { console.log(String(d)); s.destroy(); })`;
    const denied = await exec(code, '--no-network', '--', ...network, ...device);
    expect(denied.status).toBe(1);
    expect(denied.stderr).toContain('did what its sandbox forbids');
    const let_ = await exec(code, '--no-network', '--', '-sandbox', 'on,spawn=allow', ...network, ...device);
    expect([let_.status, let_.stdout]).toEqual([0, 'echo\n']);
  });
});
