/**
 * A machine keeps its root and its changes on our server. The server is killed repeatedly and the network is cut. The
 * machine must only wait, and every byte must be right. NODEOS_SEED=N repeats the times of the kills.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { random } from '../../packages/block/random.js';
import { request, freePort, LONG, ROOT } from '../support.js';
import { streamed, type Streamed } from './images.js';
import { boot, IP, serve, type Server } from './machines.js';

const KILLS = 20;
/** Seconds without a network: long enough for the machine to give up its connections (`SILENCE` in nbd-keeper.h). */
const CUT = 50;
const SEED = Number(process.env['NODEOS_SEED'] ?? Date.now() % 1_000_000);

const folder = mkdtempSync(join(tmpdir(), 'nodeos-faults-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Writes blocks at random places of a file. The content of a block is derived from its place and a version. Now and
 * then it syncs the file, drops the page cache, and compares everything with the expected content.
 */
const APP = `
  const fs = require('fs'), http = require('http');
  const BLOCK = 4096, BLOCKS = 2048;
  const versions = new Uint32Array(BLOCKS);
  const failures = [];
  let rounds = 0, checked = 0, going = true;
  const content = (block, version) => {
    const words = new Uint32Array(BLOCK / 4);
    let state = (block * 2654435761 + version * 40503 + 1) >>> 0;
    for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Buffer.from(words.buffer);
  };
  const fd = fs.openSync('/home/blocks', 'w+');
  fs.ftruncateSync(fd, BLOCK * BLOCKS);
  const compare = (first, step) => {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
    const buffer = Buffer.alloc(BLOCK);
    for (let block = first; block < BLOCKS; block += step) {
      fs.readSync(fd, buffer, 0, BLOCK, block * BLOCK);
      const expected = versions[block] === 0 ? Buffer.alloc(BLOCK) : content(block, versions[block]);
      if (!buffer.equals(expected)) failures.push('block ' + block + ' of round ' + rounds);
      checked++;
    }
  };
  const round = () => {
    for (let i = 0; i < 64; i++) {
      const block = Math.floor(Math.random() * BLOCKS);
      fs.writeSync(fd, content(block, ++versions[block]), 0, BLOCK, block * BLOCK);
    }
    fs.fsyncSync(fd);
    compare(rounds % 4, 4);
    rounds++;
  };
  const attempt = (work) => {
    try { work(); } catch (error) { failures.push(String(error)); going = false; }
  };
  const loop = () => {
    if (!going) return;
    attempt(round);
    setTimeout(loop, 1);
  };
  loop();
  http.createServer((request, response) => {
    if (request.url === '/stop') {
      going = false;
      attempt(() => compare(0, 1));
    }
    response.end(JSON.stringify({ rounds, checked, failures }));
  }).listen(80);
`;

let system: Streamed;
const upper = join(folder, 'upper.ext4');
const ADMIN = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };

beforeAll(async () => {
  const app = join(folder, 'app');
  mkdirSync(app);
  const manifest = { name: 'app', version: '1.0.0', main: 'main.js', nodeos: { user: 'root' } };
  writeFileSync(join(app, 'package.json'), JSON.stringify(manifest));
  writeFileSync(join(app, 'main.js'), APP);
  system = await streamed(app, folder);
  writeFileSync(upper, '');
  truncateSync(upper, 256 << 20);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', upper], { env: ADMIN });
}, LONG);

interface State {
  readonly rounds: number;
  readonly checked: number;
  readonly failures: readonly string[];
}

/** Our server, with its log in a file. */
interface Logged extends Server {
  readonly log: string;
}

async function serveLogged(port: number, log: string): Promise<Logged> {
  const command = ['nbd', 'serve', `root=${system.small}`, `data=${upper}`, '--listen', `nbd://127.0.0.1:${port}`];
  const words = [process.execPath, join(ROOT, 'bin/nodeos'), ...command, '--json'];
  return { ...(await serve(port, 'sh', '-c', `exec "$@" >'${log}'`, 'sh', ...words)), log };
}

/** The number of connections that use an export now. */
function users({ log }: Logged, name: string): number {
  const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as { event: string; export?: string });
  const count = (what: string): number => events.filter((one) => one.event === what && one.export === name).length;
  return count('open') - count('close');
}

it(`${KILLS} kills of the server, and ${CUT} s without a network`, { timeout: 300_000 }, async () => {
  const [port, web] = [await freePort(), await freePort()];
  const chance = random(SEED);
  console.log(`NODEOS_SEED=${SEED}`);
  let server = await serveLogged(port, join(folder, 'log'));
  onTestFinished(() => server.kill());
  const monitor = join(folder, 'monitor');
  const words = [IP, `root=nbd://10.0.2.2:${port}/root?connections=2`, `nodeos.upper=nbd://10.0.2.2:${port}/data`];
  const machine = await boot(system, {
    ...{ append: words, port: web, usr: system.usr, timeout: 280 },
    extra: ['-qmp', `unix:${monitor},server=on,wait=off`],
  });
  onTestFinished(() =>
    machine
      .powerOff()
      .then(() => undefined)
      .catch(() => undefined),
  );
  const state = async (path = ''): Promise<State> =>
    (await (await request(`http://127.0.0.1:${web}/${path}`)).json()) as State;

  const until = async (isSo: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 30_000; !isSo(); await sleep(10))
      if (Date.now() > deadline) throw new Error(`the machine has not noticed:\n${machine.console}`);
  };
  const isUsed = (): boolean => users(server, 'root') > 0 && users(server, 'data') > 0;

  const before = await state();
  for (let kill = 0; kill < KILLS; kill++) {
    await until(isUsed); // otherwise nobody would notice the kill
    await sleep(chance() * 700);
    await server.kill();
    await sleep(chance() * 300);
    server = await serveLogged(port, join(folder, `log-${kill}`));
  }
  await until(isUsed);
  const afterKills = await state();
  expect(afterKills.failures).toEqual([]);
  expect(afterKills.rounds).toBeGreaterThan(before.rounds);

  const link = await linkOf(monitor);
  onTestFinished(() => void link.socket.destroy());
  const { length } = machine.console;
  // The kernel's messages can appear in the middle of a line.
  const said = (): string => machine.console.slice(length).replace(/\[ *\d+\.\d{6}\] [^\n]*\n/g, '');
  await link.set(false);
  await sleep(CUT * 1000);
  await until(() => said().includes('/data: connection lost; trying again'));
  await link.set(true);
  await until(() => /\/data: connected again after \d+ ms/.test(said()));
  for (let tries = 0; tries < 30 && (await state()).rounds <= afterKills.rounds + 1; tries++) await sleep(1000);
  const end = await state('stop');
  expect(end.failures).toEqual([]);
  expect(end.rounds).toBeGreaterThan(afterKills.rounds + 1);
  expect(machine.console).not.toMatch(/I\/O error|EXT4-fs error|Buffer I\/O/);
  await sleep(1000);
  await machine.powerOff();
  await server.kill();
  for (const [tool, ...args] of [
    ['e2fsck', '-fn', upper],
    ['fsck.erofs', system.small],
  ] as const) {
    const { status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', env: ADMIN });
    expect(status, stdout + stderr).toBe(0);
  }
  console.log(`${KILLS} kills, ${CUT} s cut: ${end.rounds} rounds, ${end.checked} blocks compared, none wrong`);
});

interface Link {
  readonly socket: Socket;
  set(up: boolean): Promise<void>;
}

/**
 * Switches the machine's network cable through QEMU's monitor: https://www.qemu.org/docs/master/interop/qmp-spec.html
 */
async function linkOf(path: string): Promise<Link> {
  const socket = createConnection(path);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'connect');
  const answered = async (words: object): Promise<void> => {
    text = '';
    socket.write(JSON.stringify(words));
    while (!text.includes('"return"')) {
      if (text.includes('"error"')) throw new Error(text);
      await sleep(10);
    }
  };
  await answered({ execute: 'qmp_capabilities' });
  return { socket, set: (up) => answered({ execute: 'set_link', arguments: { name: 'net0', up } }) };
}
