/**
 * Shared by the tests of streamed roots: a machine with its root on a server that can be killed and replaced, and an
 * application that does what the test requests.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished } from 'vitest';
import { request, freePort } from '../support.js';
import { attachProgram, streamed, type Streamed } from './images.js';
import { boot, HOST, IP, nbdkit, qemuNbd, type Booted, type BootOptions, type Server } from './machines.js';

/** The temporary folder of one test file. */
export const folder = mkdtempSync(join(tmpdir(), 'nodeos-stream-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** On request, reads files of the root without caches and writes other files repeatedly. */
const APP = `
  const { createHash } = require('crypto'), fs = require('fs'), http = require('http');
  const { spawnSync } = require('child_process');
  const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const forget = () => fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
  let rounds = 0, failures = [], going = true;
  const round = () => {
    forget();
    const name = '/home/' + (rounds % 8), bytes = Buffer.alloc(1 << 20, String(rounds));
    const fd = fs.openSync(name, 'w');
    fs.writeSync(fd, bytes);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    forget();
    if (!fs.readFileSync(name).equals(bytes)) failures.push('written ' + rounds);
    if (sum(fs.readFileSync('/app/data')) !== process.env.SUM) failures.push('read ' + rounds);
    rounds++;
  };
  const loop = () => {
    try { round(); } catch (error) { failures.push(String(error)); }
    if (going) setTimeout(loop, 1);
  };
  const attempt = (work) => { try { return work(); } catch (error) { return error.code; } };
  const answers = {
    mounts: () => fs.readFileSync('/proc/mounts', 'utf8').split('\\n').map((l) => l.split(' ').slice(0, 3).join(' '))
      .filter((line) => / (\\/|\\/usr|\\/var\\/log) /.test(line)),
    loop: () => loop(),
    rounds: () => ({ rounds, failures }),
    stop: () => { going = false; return { rounds, failures }; },
    note: () => { fs.appendFileSync('/home/note', 'x'); return fs.readFileSync('/home/note', 'utf8'); },
    rename: () => { fs.mkdirSync('/app/more'); fs.renameSync('/home/app', '/home/renamed'); return fs.readdirSync('/home'); },
    read: () => { forget(); return attempt(() => sum(fs.readFileSync('/app/data')) === process.env.SUM); },
    log: () => fs.readFileSync('/var/log/app.log', 'utf8'),
    attach: (words) => {
      if (!fs.existsSync('/home/nbd-attach')) fs.copyFileSync('/app/nbd-attach', '/home/nbd-attach');
      fs.chmodSync('/home/nbd-attach', 0o755);
      const { status, stdout } = spawnSync('/home/nbd-attach', words.split(' '), { encoding: 'utf8' });
      return { status, stdout };
    },
    keeper: () => { for (const pid of fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name) && name !== '1')) if (attempt(() => fs.readFileSync('/proc/' + pid + '/comm', 'utf8')) === 'init\\n') process.kill(Number(pid), 'SIGKILL'); },
    resolver: (lines) => fs.writeFileSync('/etc/resolv.conf', lines.replaceAll(';', '\\n')),
    device: (path) => attempt(() => fs.readFileSync(path).length),
  };
  http.createServer((request, response) => {
    const [, name, rest] = decodeURIComponent(request.url).split(/^\\/(\\w+)\\/?/);
    response.end(JSON.stringify(answers[name](rest) ?? null));
  }).listen(80, () => console.log('up'));
`;

const DATA = randomBytes(4 << 20);

/** Builds the system with that application. */
export async function buildGuest(): Promise<Streamed> {
  const app = join(folder, 'app');
  const settings = { user: 'root', env: { SUM: createHash('sha256').update(DATA).digest('hex') } };
  mkdirSync(app);
  writeFileSync(
    join(app, 'package.json'),
    JSON.stringify({ name: 'app', version: '1.0.0', main: 'main.js', nodeos: settings }),
  );
  writeFileSync(join(app, 'main.js'), APP);
  writeFileSync(join(app, 'data'), DATA);
  copyFileSync(await attachProgram(), join(app, 'nbd-attach'));
  return streamed(app, folder);
}

/** The URI of an export on this host, as seen from the guest. */
export const at = (port: number, name: string): string => `nbd://${HOST}:${port}/${name}`;

export interface Guest {
  readonly machine: Booted;
  readonly get: (path: string) => Promise<unknown>;
}

/** The files that a machine boots from. */
type Machine = Pick<Streamed, 'kernel' | 'initramfs'>;

export async function startGuest(system: Machine, options: BootOptions, ip = IP): Promise<Guest> {
  const port = await freePort();
  const machine = await boot(system, { port, ...options, append: [ip, ...options.append] });
  onTestFinished(() =>
    machine
      .powerOff()
      .then(() => undefined)
      .catch(() => undefined),
  );
  const url = `http://127.0.0.1:${port}/`;
  await request(`${url}rounds`);
  // Sent only once, because a request may have side effects.
  const get = async (path: string): Promise<unknown> =>
    (await fetch(url + path, { headers: { connection: 'close' }, signal: AbortSignal.timeout(60_000) })).json();
  return { machine, get };
}

/** A server that can be replaced by another one on the same port. */
export async function replaceableServer(start: () => Promise<Server>) {
  let server = await start();
  onTestFinished(() => server.kill());
  return {
    kill: () => server.kill(),
    signal: (signal: NodeJS.Signals) => server.child.kill(signal),
    async begin() {
      server = await start();
    },
    async replace(pause = 0) {
      await server.kill();
      await sleep(pause);
      server = await start();
    },
  };
}

/** A root on one server and an ext4 filesystem on another. */
export async function withUpper(system: Streamed, path: string, extra = '') {
  const [rootPort, upperPort] = [await freePort(), await freePort()];
  const root = await replaceableServer(() => nbdkit(rootPort, '-r', 'file', system.small));
  const upper = await replaceableServer(() => qemuNbd(upperPort, '-f', 'raw', '-x', 'data', path));
  const append = [`root=${at(rootPort, 'root')}${extra}`, `nodeos.upper=${at(upperPort, 'data')}`];
  return { root, upper, options: { append, usr: system.usr } };
}

export const ADMIN = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };

export function ext4(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, 64 << 20);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', path], { env: ADMIN });
  return path;
}

/** Checks with e2fsck that the filesystem is intact and has no journal to replay. */
export function expectClean(path: string): void {
  const { status, stdout, stderr } = spawnSync('e2fsck', ['-fn', path], { encoding: 'utf8', env: ADMIN });
  expect(stdout + stderr).not.toMatch(/recover|not cleanly/i);
  expect(status, stdout).toBe(0);
}

/** The application's report about its rounds of reading and writing. */
export interface Rounds {
  readonly rounds: number;
  readonly failures: readonly string[];
}

type Replaced = Awaited<ReturnType<typeof replaceableServer>>;

/**
 * Lets the application read and write while its servers are killed and restarted, each time after a pause in
 * milliseconds.
 * @returns the number of rounds after the last restart
 */
export async function replacedInTurn(
  get: Guest['get'],
  { root, upper }: { readonly root: Replaced; readonly upper: Replaced },
  pauses: readonly number[],
): Promise<number> {
  await get('loop');
  let before = 0;
  for (const pause of pauses) {
    await sleep(500);
    await Promise.all([root.replace(pause), upper.replace(pause / 2)]);
    const { rounds } = (await get('rounds')) as Rounds;
    expect(rounds).toBeGreaterThanOrEqual(before);
    before = rounds;
  }
  return before;
}
