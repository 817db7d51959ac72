/** Machines whose system a configuration describes. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { application, freePort, LONG, nodeos, request, start, temporary } from '../support.js';
import { lan } from './lan.js';

const LOOK = `
  const { readFileSync } = require('fs'), os = require('os');
  const word = (hex) => [6, 4, 2, 0].map((at) => parseInt(hex.slice(at, at + 2), 16)).join('.');
  const look = () => ({
    hostname: os.hostname(),
    addresses: Object.entries(os.networkInterfaces()).flatMap(([name, all]) =>
      all.filter(({ family }) => family === 'IPv4').map(({ cidr }) => name + ' ' + cidr)),
    resolv: readFileSync('/etc/resolv.conf', 'utf8'),
    routes: readFileSync('/proc/net/route', 'utf8').trim().split('\\n').slice(1).map((line) => line.split('\\t'))
      .map(([name, to, via, , , , , mask]) => [name, word(to), word(mask), word(via)].join(' ')).sort(),
    memory: os.totalmem() >> 20,
    cpus: os.cpus().length,
    env: process.env.GREETING,
  });
`;
const SERVER = `${LOOK} require('http').createServer((_, response) => response.end(JSON.stringify({ ...look(), ...more }))).listen(80);`;

/** @returns what asks a server of chrony, which tells the time of this host */
async function chrony(): Promise<(query: Buffer) => Promise<Buffer>> {
  const [port, folder] = [await freePort(), await temporary()];
  const settings = [`port ${port}`, 'cmdport 0', 'bindaddress 127.0.0.1', 'allow', 'local', `pidfile ${folder}/pid`];
  await writeFile(join(folder, 'conf'), settings.join('\n'));
  const server = spawn('chronyd', ['-x', '-d', '-U', '-f', join(folder, 'conf')], { stdio: 'ignore' });
  onTestFinished(() => void server.kill());
  return async (query) => {
    const socket = createSocket('udp4');
    for (;;) {
      socket.send(query, port, '127.0.0.1');
      const answer = await Promise.race([once(socket, 'message'), sleep(200)]);
      if (answer === undefined) continue; // it has not started yet
      socket.close();
      return answer[0] as Buffer;
    }
  };
}

/** Pulls the cable of a network of QEMU's, or plugs it in. https://www.qemu.org/docs/master/interop/qmp-spec.html */
async function setLink(path: string, name: string, up: boolean): Promise<void> {
  const socket = connect(path);
  const commands = [{ execute: 'qmp_capabilities' }, { execute: 'set_link', arguments: { name, up } }];
  socket.write(commands.map((command) => `${JSON.stringify(command)}\n`).join(''));
  let done = 0;
  for await (const line of createInterface(socket)) {
    expect(line).not.toContain('"error"');
    if (line.startsWith('{"return"') && ++done === commands.length) break; // the others are a greeting, and events
  }
  socket.destroy();
  expect(done).toBe(commands.length);
}

describe('a configuration', { timeout: LONG }, () => {
  it('in TypeScript is the whole system: name, address, files, variables, build command, ports, memory', async () => {
    const port = await freePort();
    const app = await application(
      {
        'src/main.js': `const more = { greeting: require('fs').readFileSync('/etc/greeting', 'utf8'), page: require('fs').readFileSync('/srv/www/a/index.html', 'utf8') }; ${SERVER}`,
        'greeting.txt': 'from a file',
        'public/a/index.html': '<p>',
        'nodeos.config.ts': `import { defineConfig } from 'nodeos';
          const port: number = ${port};
          export default defineConfig({
            build: 'mkdir -p dist && cp src/main.js dist/ && echo built by a command',
            hostname: 'box',
            memory: '192M',
            cpus: 2,
            env: { GREETING: 'hello' },
            files: { '/etc/greeting': 'greeting.txt', '/srv/www': 'public' },
            publish: [\`\${port}:80\`],
            network: {
              interfaces: { eth0: { address: '192.168.7.9/24', gateway: '192.168.7.1' }, eth1: 'dhcp' },
              dns: ['192.168.7.1'], domain: 'example.org',
            },
          });`,
      },
      { main: 'dist/main.js', files: ['dist'] },
    );
    const running = start(['start'], { cwd: app });
    await running.waitForOutput(/the guest's port 80/);
    expect(running.output.stderr).toContain('nodeos: the application of this folder (nodeos.config.ts)\n');
    expect(running.output.stderr).toContain('\n  built by a command\n');
    const found = (await (await request(`http://127.0.0.1:${port}`)).json()) as Record<string, unknown>;
    expect(found).toMatchObject({
      hostname: 'box',
      addresses: ['lo 127.0.0.1/8', 'eth0 192.168.7.9/24', 'eth1 10.0.2.15/24'],
      resolv: 'search example.org\nnameserver 192.168.7.1\n',
      env: 'hello',
      cpus: 2,
      greeting: 'from a file',
      page: '<p>',
    });
    expect(found['routes']).toContain('eth0 0.0.0.0 0.0.0.0 192.168.7.1');
    expect(found['memory']).toBeGreaterThan(150);
    expect(found['memory']).toBeLessThan(192);
  });

  it.each(['q35', 'microvm'])('has several interfaces on %s, each on its own network', async (board) => {
    const port = await freePort();
    const app = await application({
      'main.js': `const more = {}; ${SERVER}`,
      'nodeos.config.json': JSON.stringify({
        board,
        publish: [`${port}:80`],
        network: {
          interfaces: {
            eth0: { address: '192.168.7.9/24' },
            eth1: 'dhcp',
            eth2: { address: '10.77.0.5/16', gateway: '10.77.0.1' },
          },
        },
      }),
    });
    start(['start', app]);
    // The port leads to the first card: nobody answers if the cards are in another order.
    const found = (await (await request(`http://127.0.0.1:${port}`)).json()) as Record<string, unknown>;
    const addresses = ['lo 127.0.0.1/8', 'eth0 192.168.7.9/24', 'eth1 10.0.2.15/24', 'eth2 10.77.0.5/16'];
    expect(found).toMatchObject({ addresses });
    const routes = found['routes'] as string[];
    expect(routes.filter((route) => route.includes(' 0.0.0.0 0.0.0.0 '))).toEqual(['eth2 0.0.0.0 0.0.0.0 10.77.0.1']);
  });

  it('has DHCP on several interfaces: each has its lease, and without a link its routes do not count', async () => {
    const [port, qmp] = [await freePort(), join(await temporary(), 'qmp')];
    const app = await application({
      'main.js': `${LOOK}
          const { readFileSync: read, writeFileSync } = require('fs'), { spawnSync } = require('child_process');
          const metrics = () => read('/proc/net/route', 'utf8').trim().split('\\n').map((line) => line.split('\\t'))
            .filter(([, to]) => to === '00000000').map(([name, , via, , , , metric]) => [name, word(via), metric].join(' '));
          const source = () => new Promise((resolve) => {
            const socket = require('dgram').createSocket('udp4').on('error', ({ code }) => resolve(code));
            socket.connect(9, '198.51.100.9', () => { resolve(socket.address().address); socket.close(); });
          });
          const leases = () => JSON.parse(read('/run/nodeos/leases.json', 'utf8'));
          const renew = () => {
            const due = leases().map((lease) => lease.interface === 'eth1' ? { ...lease, renewAt: 0 } : lease);
            writeFileSync('/run/nodeos/leases.json', JSON.stringify(due));
            const { status, stderr } = spawnSync('/bin/node', ['/sbin/init', 'renew'], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], encoding: 'utf8' });
            const renewed = leases().filter((lease, at) => lease.renewAt !== due[at].renewAt).map((lease) => lease.interface);
            return { status, stderr, renewed };
          };
          require('http').createServer(async ({ url }, response) => response.end(JSON.stringify(
            url === '/renew' ? renew() : { ...look(), metrics: metrics(), source: await source() }))).listen(80);`,
      'nodeos.config.json': JSON.stringify({
        ...{ user: 'root', publish: [`${port}:80`] },
        network: { interfaces: { eth1: 'dhcp', eth0: 'dhcp' } },
      }),
    });
    start(['start', app, '--', '-qmp', `unix:${qmp},server=on,wait=off`]);
    const look = async (path = '/'): Promise<unknown> => (await request(`http://127.0.0.1:${port}${path}`)).json();
    expect(await look()).toMatchObject({
      addresses: ['lo 127.0.0.1/8', 'eth0 10.0.2.15/24', 'eth1 10.0.3.15/24'],
      resolv: 'nameserver 10.0.3.3\nnameserver 10.0.2.3\n',
      metrics: ['eth1 10.0.3.2 0', 'eth0 10.0.2.2 100'],
      source: '10.0.3.15',
    });
    expect(await look('/renew')).toEqual({ status: 0, stderr: '', renewed: ['eth1'] });
    await setLink(qmp, 'net1', false);
    await expect.poll(() => look(), { timeout: 20_000 }).toMatchObject({ source: '10.0.2.15' });
    await setLink(qmp, 'net1', true);
    await expect.poll(() => look(), { timeout: 20_000 }).toMatchObject({ source: '10.0.3.15' });
  });

  it('sets the clock by chrony, which a name server knows', async () => {
    const net = await lan([10, 0, 0, 9], []);
    // RFC 1035: the question, and an address of 9 s.
    net.services.set(53, (query) => {
      const reply = Buffer.concat([query, Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 123])]);
      reply.writeUInt16BE(0x8180, 2);
      reply.writeUInt16BE(1, 6);
      return reply;
    });
    net.services.set(123, await chrony());
    const app = await application({
      'main.js': `${LOOK} console.log('VALUE ' + JSON.stringify({ ...look(), date: new Date() }));`,
      'nodeos.config.json': JSON.stringify({
        network: {
          interfaces: { '52:54:00:12:34:56': { address: '10.0.0.7/24', gateway: '10.0.0.1' } },
          dns: ['10.0.0.53'],
        },
        timeServers: ['time.example.org'],
        append: 'nodeos.hostname=clock',
      }),
    });
    const args = ['start', app, '--timeout', '60', '--no-network', '--', '-rtc', 'base=2020-01-01', ...net.card];
    const { status, stdout, stderr } = await nodeos(...args);
    expect(status, stdout + stderr).toBe(0);
    const value = JSON.parse(/^VALUE (.*)$/m.exec(stdout)?.[1] ?? '{}') as Record<string, unknown>;
    expect(value).toMatchObject({ hostname: 'clock', addresses: ['lo 127.0.0.1/8', 'eth0 10.0.0.7/24'] });
    const error = Date.parse(String(value['date'])) - Date.now();
    expect(error).toBeGreaterThan(-60_000); // the time since the machine looked
    expect(error).toBeLessThan(1000);
    expect([...net.seen]).toEqual(['arp 10.0.0.53', 'port 53 of 10.0.0.53', 'arp 10.0.0.1', 'port 123 of 192.0.2.123']);
    expect(stdout).toContain('nodeos: clock: 2020-01-01T');
    expect(stdout).not.toMatch(/nodeos: (network|time): /);
  });

  it('whose build command fails builds nothing, and says what failed', async () => {
    const port = await freePort();
    const config = { build: 'echo half done; echo no luck >&2; exit 3', publish: [`${port}:80`], formats: ['disk'] };
    const app = await application({ 'main.js': '', 'nodeos.config.json': JSON.stringify(config) });
    for (const args of [
      ['start', app],
      ['build', '--app', app],
    ]) {
      const { status, stdout, stderr } = await nodeos(...args);
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toMatch(/^ {2}half done$/m);
      expect(stderr).toMatch(/^ {2}no luck$/m);
      expect(stderr).toContain(`nodeos: the build command of ${app} failed`);
      expect(stderr).toContain(`run it there: ${config.build}`);
    }
    const explained = await nodeos('build', 'kernel', '--app', app, '--explain');
    expect(explained).toMatchObject({ status: 0, stderr: `nodeos: not run, because of --explain: ${config.build}\n` });
  });

  it('is not needed for a layer that is the same with every application', async () => {
    const app = await application({ 'main.js': '', 'nodeos.config.json': '{ "build": "exit 1" }' });
    const { status, stderr } = await start(['build', 'kernel'], { cwd: app }).ended;
    expect(status, stderr).toBe(0);
  });

  it('changes nothing for --exec and the REPL of another folder, and gives --exec its memory', async () => {
    const app = await application({ 'main.js': '' });
    await writeFile(join(app, 'nodeos.config.mjs'), `export default { memory: '96M', hostname: 'small' };`);
    const code = 'console.log(os.hostname(), os.totalmem() < 96 * 2 ** 20)';
    expect(await nodeos('start', app, '--exec', code, '--timeout', '60')).toMatchObject({
      status: 0,
      stdout: 'small true\n',
    });
    expect(await nodeos('start', '--exec', code, '--timeout', '60')).toMatchObject({
      status: 0,
      stdout: 'nodeos false\n',
    });
  });

  it('names files that are not there', async () => {
    const app = await application({ 'main.js': '', 'nodeos.config.json': '{ "files": { "/srv/a": "missing" } }' });
    const { status, stderr } = await nodeos('build', 'initramfs', '--app', app);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `nodeos: files: /srv/a is to be ${join(app, 'missing')}, which is not there\n`,
    });
  });
});
