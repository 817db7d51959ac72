/** Boot media on real firmware: SeaBIOS and OVMF start them from every kind of drive, with 256 MiB of memory. */
import { execFile } from 'node:child_process';
import { copyFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { partitions, file as openFile } from '@nodeos/block';
import type { Firmware } from '@nodeos/targets';
import { runMachine, type Drive, type MachineResult } from '@nodeos/vm';
import { describe, expect, it } from 'vitest';
import { application, exec, freePort, LONG, nodeos, request, start, temporary } from '../support.js';
import { EMULATED_PC } from './emulated.js';

const run = promisify(execFile);

/** Builds an image. @returns its path */
async function image(format: string, file: string): Promise<string> {
  const { status, stdout, stderr } = await nodeos('build', format);
  expect(status, stderr).toBe(0);
  return join(stdout.trim().replace(/^\S+: /, ''), file);
}

const DEVICES: Readonly<Partial<Record<Drive, string>>> = {
  virtio: 'vda',
  usb: 'sda',
  sata: 'sda',
  nvme: 'nvme0n1p',
  cdrom: 'loop',
};

describe('boot media', { timeout: LONG }, () => {
  it.each<[string, Firmware, Drive]>([
    ['disk', 'bios', 'virtio'],
    ['disk', 'bios', 'usb'],
    ['disk', 'bios', 'sata'],
    ['disk', 'uefi', 'usb'],
    ['disk', 'uefi', 'nvme'],
    ['iso', 'bios', 'cdrom'],
    ['iso', 'uefi', 'cdrom'],
    ['iso', 'bios', 'usb'],
  ])('%s boots by %s from %s', async (format, firmware, drive) => {
    const code =
      "console.log(fs.readFileSync('/proc/mounts', 'latin1').split('\\n').filter((l) => /usr|data/.test(l)).map((l) => l.split(' ').slice(0, 4).join(' ').replace(/,.*/, '')).join('; '))";
    const media = ['--format', format, '--firmware', firmware, '--drive', drive];
    const { status, stdout, stderr } = await exec(code, '--boot-timeout', '120', '--timeout', '180', ...media);
    expect(status, stderr).toBe(0);
    const device = DEVICES[drive];
    const [usr, data] = { cdrom: [0, undefined], iso: [2, undefined], disk: [4, 6] }[
      drive === 'cdrom' ? drive : (format as 'iso' | 'disk')
    ];
    const lines = [`/dev/${device}${usr} /usr erofs ro`, data && `/dev/${device}${data} /data ext4 rw`];
    expect(stdout.trim()).toBe(lines.filter(Boolean).join('; '));
  });

  it.each<[Firmware, Drive]>([
    ['bios', 'sata'],
    ['uefi', 'nvme'],
  ])('data survive a reboot by %s from %s, and grow to the end of the disk', async (firmware, drive) => {
    const disk = join(await temporary(), 'disk.img');
    await copyFile(await image('disk', 'nodeos.img'), disk);
    await truncate(disk, 4 * 2 ** 30);
    const booted = async (code: string): Promise<MachineResult & { stdout: string }> => {
      let stdout = '';
      const result = await runMachine({
        ...EMULATED_PC,
        medium: { path: disk, keeps: true, drive, firmware },
        settings: { exec: code },
        ports: { 'nodeos.stdout': (chunk) => void (stdout += chunk.toString()) },
        timeout: 180,
        bootTimeout: 120,
      });
      return { ...result, stdout };
    };
    const written = await booted("fs.writeFileSync('/data/note', 'kept'); fs.fsyncSync(fs.openSync('/data/note'))");
    expect(written.status, written.lines.join('\n')).toBe(0);
    const read = await booted("console.log(fs.readFileSync('/data/note', 'latin1'), fs.statfsSync('/data').blocks)");
    const [note, blocks] = read.stdout.trim().split(' ');
    expect(note).toBe('kept');
    expect(Number(blocks) * 4096).toBeGreaterThan(3.5 * 2 ** 30);
    const opened = await openFile(disk, { readOnly: true });
    const found = await partitions(opened).finally(() => opened.close());
    const { offset = 0, length = 0 } = found.find(({ name }) => name === 'data') ?? {};
    expect(offset + length).toBeGreaterThan(4 * 2 ** 30 - (2 << 20));
    await run('sgdisk', ['-v', disk]);
    const data = join(await temporary(), 'data.ext4');
    await run('dd', [`if=${disk}`, `of=${data}`, 'bs=1M', `skip=${offset >> 20}`, 'conv=sparse', 'status=none']);
    await run('e2fsck', ['-fn', data]);
  });

  it('an application on a CD answers a request', async () => {
    const main = "require('http').createServer((q, r) => r.end('from a CD')).listen(80)";
    const dir = await application({ 'main.js': main });
    const port = await freePort();
    const machine = start([
      'start',
      dir,
      '--format',
      'iso',
      '--firmware',
      'uefi',
      '--publish',
      `${port}:80`,
      '--boot-timeout',
      '120',
    ]);
    expect(await (await request(`http://127.0.0.1:${port}`, {}, 180)).text()).toBe('from a CD');
    machine.child.kill('SIGINT');
    await machine.ended;
  });

  it.each<[string, Firmware]>([
    ['disk', 'bios'],
    ['disk', 'uefi'],
    ['iso', 'bios'],
  ])('%s has the words of --append by %s', async (format, firmware) => {
    const words = 'nodeos.hostname=baked x="a b"';
    const media = ['--format', format, '--firmware', firmware, '--append', words];
    const code = "console.log(os.hostname(), fs.readFileSync('/proc/cmdline', 'latin1').includes('x=\"a b\"'))";
    const { stdout, stderr } = await exec(code, '--boot-timeout', '120', '--timeout', '180', ...media);
    expect(stdout, stderr).toBe('baked true\n');
  });

  it('a second build gives the same bytes', async () => {
    for (const [format, file] of [
      ['disk', 'nodeos.img'],
      ['iso', 'nodeos.iso'],
    ] as const) {
      const first = await image(format, file);
      const [copy] = [join(await temporary(), file)];
      await copyFile(first, copy);
      await run('rm', ['-r', join(first, '../..')]);
      expect(await image(format, file)).toBe(first);
      await run('cmp', [first, copy]);
      await run('rm', [copy]);
    }
  });

  it('unknown formats and options that exclude each other are refused', async () => {
    const refused = async (...args: string[]): Promise<string> => {
      const { status, stderr } = await nodeos('start', ...args);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await refused('--format', 'floppy')).toContain('--format floppy: expected disk, iso');
    expect(await refused('--firmware', 'uefi')).toContain('--firmware: only with --format');
    expect(await refused('--format', 'iso', '--append', 'a\nb')).toContain('--append a\\nb: expected one line');
    expect(await refused('--format', 'iso', '--drive', 'tape')).toContain('--drive tape: expected virtio, usb');
  });
});
