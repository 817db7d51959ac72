/** Machines for aarch64: by kernel, by UEFI from a disk, and the Raspberry Pi from its card. */
import { execFile } from 'node:child_process';
import { copyFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { application, exec, freePort, LONG, nodeos, request, start, temporary } from '../support.js';
import { newerQemu } from './newer-qemu.js';

const TARGET = ['--target', 'aarch64'];
const PATIENCE = ['--boot-timeout', '240', '--timeout', '300'];
const APP = `const http = require('http'), fs = require('fs'), os = require('os');
http.createServer((q, r) => r.end(JSON.stringify({
  arch: process.arch, uid: process.getuid(), mounts: fs.readFileSync('/proc/mounts', 'latin1'),
  denied: (() => { try { os.setPriority(-20); } catch (e) { return e.code; } })(), home: fs.existsSync('/data/home'),
}))).listen(80)`;

describe('aarch64', { timeout: LONG }, () => {
  it('boots from a kernel to code, with its runtime on a disk', async () => {
    const code =
      "console.log(process.arch, fs.readFileSync('/proc/mounts', 'latin1').split('\\n').find((l) => l.includes(' /usr ')).split(' ').slice(0, 3).join(' '))";
    const { status, stdout, stderr } = await exec(code, ...TARGET, ...PATIENCE);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe('arm64 /dev/vda /usr erofs\n');
  });

  it.each(['usb', 'nvme', 'virtio'])('boots a disk by UEFI from %s', async (drive) => {
    const code = "console.log(process.arch, fs.readFileSync('/proc/cmdline', 'latin1').includes('PARTUUID'))";
    const media = ['--format', 'disk', '--drive', drive];
    const { status, stdout, stderr } = await exec(code, ...TARGET, ...media, ...PATIENCE);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe('arm64 true\n');
  });

  it('confines an application, which answers by HTTP', async () => {
    const port = await freePort();
    const machine = start(['start', await application({ 'main.js': APP }), ...TARGET, '--publish', `${port}:80`]);
    const answer = await (await request(`http://127.0.0.1:${port}`, {}, 240)).text().catch(String);
    expect(answer).toContain('"arch":"arm64","uid":1000');
    machine.child.kill('SIGINT');
    expect((await machine.ended).status).toBe(130);
  });
});

describe('the Raspberry Pi', { timeout: LONG }, () => {
  it('3 boots its card to an application that answers by HTTP, and keeps data', async () => {
    const port = await freePort();
    const app = await application({ 'main.js': APP });
    const media = ['--format', 'raspi', '--machine', 'raspi3', '--publish', `${port}:80`];
    const machine = start(['start', app, ...TARGET, ...media, '--boot-timeout', '240']);
    const response = await request(`http://127.0.0.1:${port}`, {}, 300);
    const answer = (await response.json()) as Record<string, unknown>;
    expect(answer).toMatchObject({ arch: 'arm64', uid: 1000, denied: 'ERR_SYSTEM_ERROR', home: true });
    expect(answer['mounts']).toMatch(/^\/dev\/mmcblk0p2 \/usr erofs ro/m);
    expect(answer['mounts']).toMatch(/^\/dev\/mmcblk0p4 \/data ext4 rw/m);
    machine.child.kill('SIGINT');
    await machine.ended;
  });

  it('4 boots its card to a REPL, and its data grow to the end of the card', async () => {
    const PATH = `${await newerQemu()}:${process.env['PATH']}`;
    const media = ['--format', 'raspi', '--machine', 'raspi4', '--boot-timeout', '240', '--timeout', '280'];
    const machine = start(['start', ...TARGET, ...media], { env: { PATH } });
    await machine.waitForOutput(/\/data has grown to \d+ MiB/);
    await machine.waitForOutput(/> /);
    machine.child.stdin?.write('process.arch + process.versions.node.length\r');
    await machine.waitForOutput(/'arm64\d/);
    machine.child.kill('SIGINT');
    await machine.ended;
  });

  it('leaves its copy of the card after a kill -9, and the next machine removes it', async () => {
    const TMPDIR = await temporary();
    const args = ['start', ...TARGET, '--format', 'raspi', '--machine', 'raspi3', '--boot-timeout', '240'];
    const cards = async (): Promise<string[]> => (await readdir(TMPDIR)).filter((name) => /^nodeos-card-/.test(name));
    const first = start(args, { env: { TMPDIR } });
    await first.waitForOutput(/Linux|NodeOS/);
    const [card] = await cards();
    expect(card).toContain(`-${first.child.pid}-`);
    first.child.kill('SIGKILL');
    expect((await first.ended).status).toBe(137);
    expect(await cards()).toEqual([card]);
    const second = start(args, { env: { TMPDIR } });
    await second.waitForOutput(/Linux|NodeOS/);
    expect(await cards()).toEqual([expect.stringContaining(`-${second.child.pid}-`)]);
    second.child.kill('SIGINT');
    await second.ended;
    expect(await cards()).toEqual([]);
  });

  it('is refused what it cannot do', async () => {
    const refused = async (...args: string[]): Promise<string> => {
      const { status, stderr } = await nodeos('start', ...args);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await refused('--format', 'raspi')).toContain('--format raspi: the machine q35 does not start it');
    expect(await refused(...TARGET, '--machine', 'raspi3')).toContain('it boots only from a medium');
    const code = [...TARGET, '--format', 'raspi', '--exec', '1'];
    expect(await refused(...code)).toContain('--exec: not with --machine raspi3, to which QEMU has no port');
    expect(await refused(...TARGET, '--machine', 'raspi5')).toContain('Raspberry Pi 5');
  });
});

it('a second build of a card gives the same bytes', { timeout: LONG }, async () => {
  const { stdout, status, stderr } = await nodeos('build', '--format', 'raspi', ...TARGET);
  expect(status, stderr).toBe(0);
  const card = join(stdout.trim().replace(/^\S+: /, ''), 'nodeos-raspi.img');
  const copy = join(await temporary(), 'card.img');
  await copyFile(card, copy);
  await rm(join(card, '../..'), { recursive: true });
  expect((await nodeos('build', '--format', 'raspi', ...TARGET)).status).toBe(0);
  await promisify(execFile)('cmp', [card, copy]);
});
