/**
 * A root on the network, with servers that are not ours: nbdkit and qemu-nbd.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { application, ask, freePort, LONG } from '../support.js';
import { boot, IP, nbdkit, qemuNbd, streamed, type Booted, type BootOptions, type Server, type Streamed } from './streamed.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-stream-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Reads files of the root anew, and writes others, for as long as it is asked to. */
const APP = `
  const { createHash } = require('crypto'), fs = require('fs'), http = require('http');
  const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');
  let rounds = 0, failures = [], going = true;
  const round = () => {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
    const name = '/home/' + (rounds % 8), bytes = Buffer.alloc(1 << 20, String(rounds));
    const fd = fs.openSync(name, 'w');
    fs.writeSync(fd, bytes);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
    if (!fs.readFileSync(name).equals(bytes)) failures.push('written ' + rounds);
    if (sum(fs.readFileSync('/app/data')) !== process.env.SUM) failures.push('read ' + rounds);
    rounds++;
  };
  const loop = () => { try { round(); } catch (error) { failures.push(String(error)); } if (going) setTimeout(loop, 1); };
  const answers = {
    '/': () => ({ root: fs.readFileSync('/proc/mounts', 'utf8').split('\\n').filter((l) => / (\\/|\\/usr|\\/var\\/log) /.test(l)).map((l) => l.split(' ').slice(0, 3).join(' ')), readOnly: fs.existsSync('/init') }),
    '/loop': () => loop(),
    '/stop': () => { going = false; return { rounds, failures }; },
    '/rounds': () => ({ rounds, failures }),
    '/note': () => { fs.appendFileSync('/home/note', 'x'); return fs.readFileSync('/home/note', 'utf8'); },
    '/error': () => { try { fs.readFileSync('/app/data'); return 'read'; } catch (error) { return error.code; } },
    '/drop': () => fs.writeFileSync('/proc/sys/vm/drop_caches', '3'),
    '/log': () => fs.readFileSync('/var/log/app.log', 'utf8'),
  };
  http.createServer((request, response) => response.end(JSON.stringify(answers[request.url]?.() ?? null))).listen(80, () => console.log('up'));
`;

const DATA = randomBytes(4 << 20);
let system: Streamed;

beforeAll(async () => {
  const manifest = { nodeos: { user: 'root', env: { SUM: createHash('sha256').update(DATA).digest('hex') } } };
  const app = mkdtempSync(join(folder, 'app-'));
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', main: 'main.js', ...manifest }));
  writeFileSync(join(app, 'main.js'), APP);
  writeFileSync(join(app, 'data'), DATA);
  system = await streamed(app, folder);
}, LONG);

const rootAt = (port: number, more = ''): string => `root=nbd://10.0.2.2:${port}/root${more}`;

async function started(options: BootOptions): Promise<{ machine: Booted; get: (path: string) => Promise<unknown> }> {
  const port = await freePort();
  const machine = await boot(system, { port, ...options, append: [IP, ...options.append] });
  onTestFinished(() => machine.powerOff().catch(() => undefined));
  const get = async (path: string): Promise<unknown> => (await ask(`http://127.0.0.1:${port}${path}`)).json();
  return { machine, get };
}

/** A server that can be replaced: always on the same port. */
async function served(start: () => Promise<Server>): Promise<{ server: Server; replace(pause?: number): Promise<void> }> {
  const held = {
    server: await start(),
    async replace(pause = 0) {
      await held.server.kill();
      await sleep(pause);
      held.server = await start();
    },
  };
  onTestFinished(() => held.server.kill());
  return held;
}

describe('boots from', () => {
  it.each([
    ['nbdkit', (port: number) => nbdkit(port, '-r', 'file', system.image), ''],
    ['nbdkit, with two connections', (port: number) => nbdkit(port, '-r', 'file', system.image), '?connections=2'],
    ['qemu-nbd', (port: number) => qemuNbd(port, '-r', '-f', 'raw', '-x', 'root', system.image), ''],
  ])('%s', async (_, start, more) => {
    const port = await freePort();
    await served(() => start(port));
    const { machine, get } = await started({ append: [rootAt(port, more)] });
    expect(await get('/')).toEqual({ root: ['overlay / overlay', 'tmpfs /var/log tmpfs'], readOnly: true });
    expect(await get('/note')).toBe('x');
    expect(await get('/log')).toBe('up\n');
    const { events } = await machine.powerOff();
    expect(events.at(-1)).toMatchObject({ event: 'end' });
  });
});

interface Rounds {
  readonly rounds: number;
  readonly failures: readonly string[];
}

function disk(name: string, megabytes = 64): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, megabytes << 20);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=0', path], {
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
  return path;
}

/** Whether another program than the kernel finds the filesystem whole, without a journal to replay. */
function expectClean(path: string): void {
  const { status, stdout } = spawnSync('/sbin/e2fsck', ['-fn', path], { encoding: 'utf8' });
  expect(stdout).not.toMatch(/recover|not cleanly/i);
  expect(status, stdout).toBe(0);
}

describe('a server that goes away', () => {
  it.each([
    ['nbdkit', ''],
    ['nbdkit, with two connections', '?connections=2'],
  ])('killed and started again: the guest waits, reads and writes what is right (%s)', async (_, more) => {
    const [rootPort, upperPort] = [await freePort(), await freePort()];
    const path = disk('killed');
    const root = await served(() => nbdkit(rootPort, '-r', 'file', system.image));
    const upper = await served(() => qemuNbd(upperPort, '-f', 'raw', '-x', 'data', path));
    const { machine, get } = await started({
      append: [rootAt(rootPort, more), `nodeos.upper=nbd://10.0.2.2:${upperPort}/data`],
    });
    await get('/loop');
    let before = 0;
    for (let n = 0; n < 4; n++) {
      await sleep(700);
      await Promise.all([root.replace(300 * n), n % 2 ? upper.replace(500) : undefined]);
      const { rounds } = (await get('/rounds')) as Rounds;
      expect(rounds).toBeGreaterThan(before);
      before = rounds;
    }
    const { failures } = (await get('/stop')) as Rounds;
    expect(failures).toEqual([]);
    expect(machine.console).toMatch(/\/root\S*: connection lost; trying again/);
    expect(machine.console).toMatch(/\/data: connected again after \d+ ms/);
    await machine.powerOff();
    expectClean(path);
  });

  it('out of reach: the guest waits', async () => {
    const port = await freePort();
    await served(() => nbdkit(port, '-r', 'file', system.image));
    const monitor = join(folder, 'qmp');
    const { machine, get } = await started({
      append: [rootAt(port)],
      timeout: 300,
      // The guest must not see that the cable is pulled.
      extra: ['-global', 'virtio-net-pci.status=off', '-qmp', `unix:${monitor},server=on,wait=off`],
    });
    await get('/loop');
    await sleep(1000);
    setLink(monitor, false);
    await sleep(60_000);
    setLink(monitor, true);
    console.log(machine.console);
    const { rounds } = (await get('/rounds')) as Rounds;
    await sleep(8000);
    const { rounds: after, failures } = (await get('/stop')) as Rounds;
    console.log(rounds, after, machine.console);
    expect(after).toBeGreaterThan(rounds);
    expect(failures).toEqual([]);
  });

  it.each([['stopped'], ['slow']])('%s: the guest waits', async (how) => {
    const port = await freePort();
    const root = await served(() => nbdkit(port, '-r', 'file', system.image));
    const { machine, get } = await started({ append: [rootAt(port)], timeout: 300 });
    await get('/loop');
    await sleep(1000);
    if (how === 'stopped') {
      root.server.child.kill('SIGSTOP');
      await sleep(45_000);
      root.server.child.kill('SIGCONT');
    } else {
      await root.server.kill();
      root.server = await nbdkit(port, '-r', '--filter=delay', 'file', system.image, 'rdelay=5');
      await sleep(45_000);
      await root.replace();
    }
    const { rounds } = (await get('/rounds')) as Rounds;
    await sleep(8000);
    const { rounds: after, failures } = (await get('/stop')) as Rounds;
    console.log(rounds, after, machine.console);
    expect(after).toBeGreaterThan(rounds);
    expect(failures).toEqual([]);
  });

  it('for longer than nodeos.nbd.timeout: what is read fails, until there is a server again', async () => {
    const port = await freePort();
    const root = await served(() => nbdkit(port, '-r', 'file', system.image));
    const { get, machine } = await started({ append: [rootAt(port), 'nodeos.nbd.timeout=2'] });
    expect(await get('/error')).toBe('read');
    await root.server.kill();
    await get('/drop');
    expect(await get('/error')).toBe('EIO');
    root.server = await nbdkit(port, '-r', 'file', system.image);
    await machine.saw(/connected again/);
    expect(await get('/error')).toBe('read');
  });

  it('does not keep the machine from its end', async () => {
    const [rootPort, upperPort] = [await freePort(), await freePort()];
    const path = disk('gone');
    const root = await served(() => nbdkit(rootPort, '-r', 'file', system.image));
    const upper = await served(() => qemuNbd(upperPort, '-f', 'raw', '-x', 'data', path));
    const { machine, get } = await started({
      append: [rootAt(rootPort), `nodeos.upper=nbd://10.0.2.2:${upperPort}/data`],
    });
    await get('/loop');
    await sleep(1000);
    await Promise.all([root.server.kill(), upper.server.kill()]);
    await machine.saw(/connection lost/);
    await sleep(1000);
    const began = performance.now();
    const result = await machine.powerOff();
    console.log(performance.now() - began, result.why, machine.console, result.events.slice(-3));
  });
});

function setLink(monitor: string, up: boolean): void {
  connect(monitor).end(
    `{"execute":"qmp_capabilities"}\n{"execute":"set_link","arguments":{"name":"net0","up":${String(up)}}}\n`,
  );
}
