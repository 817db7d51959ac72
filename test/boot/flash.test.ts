/** nodeos flash in a guest, onto USB sticks of QEMU: a real /sys and real drives, none of them of this machine. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { random, regions, writeImage } from '@nodeos/block';
import { fat, gpt, GPT_TYPES, guidOf } from '@nodeos/fs';
import { file } from '@nodeos/tree';
import { describe, expect, it } from 'vitest';
import { application, exec, LONG, ROOT, temporary } from '../support.js';

const run = promisify(execFile);
const MIB = 1 << 20;
const SIZE = 8 * MIB;
/** Bytes of the sticks, by which they are told apart: USB drives are found in any order. */
const STICKS = { good: 64 * MIB, small: 4 * MIB, locked: 32 * MIB } as const;
type Stick = keyof typeof STICKS;

/** The folders of a package and of all that it needs, by where they are below the folder of the application. */
async function packagesOf(name: string, from = ROOT, found = new Map<string, string>()): Promise<Map<string, string>> {
  let parent = from;
  while (!existsSync(join(parent, 'node_modules', name)) && parent !== dirname(parent)) parent = dirname(parent);
  const place = relative(ROOT, join(parent, 'node_modules', name));
  const folder = await realpath(join(ROOT, place)).catch(() => undefined);
  if (folder === undefined || found.has(place)) return found; // an optional one that is not for this machine
  found.set(place, folder);
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Record<string, object>;
  for (const one of Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'] }))
    await packagesOf(one, folder, found);
  return found;
}

/** Of a package of this repository; of others, all. Packages within packages are copied with them. */
const PARTS = ['package.json', 'dist', 'bin', 'node_modules'];

/** The command of this repository, as it is compiled, in an application with that image. */
async function commandWith(image: string): Promise<string> {
  const app = await application({ 'main.js': '' }, { nodeos: { modules: 'copy' } });
  await cp(image, join(app, 'image'));
  for (const [place, folder] of await packagesOf('nodeos')) {
    if (!place.startsWith('node_modules/') || place.lastIndexOf('node_modules/') > 0) continue;
    const isOwn = !folder.includes('/node_modules/');
    await mkdir(join(app, place), { recursive: true });
    for (const part of isOwn ? PARTS.filter((one) => existsSync(join(folder, one))) : ['.'])
      await cp(join(folder, part), join(app, place, part), { recursive: true });
  }
  return app;
}

/** A disk with a FAT volume in a partition, and noise in that. */
async function diskImage(): Promise<string> {
  const path = join(await temporary(), 'image');
  const next = random(9);
  const content = Buffer.from(Array.from({ length: MIB }, () => next() * 256));
  const volume = await fat([file('NOISE', content)], { size: 4 * MIB });
  const [id, partition] = [1, 2].map((number) => guidOf(Buffer.alloc(16, number))) as [string, string];
  const place = { type: GPT_TYPES.esp, id: partition, name: 'volume', offset: MIB, length: volume.size };
  const list = [
    ...gpt({ size: SIZE, id, partitions: [place], firstUsable: MIB }),
    ...volume.regions.map((region) => ({ ...region, offset: MIB + (region.offset ?? 0) })),
  ].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
  const device = regions(list, { size: SIZE });
  await writeImage(device, path).finally(() => device.close());
  return path;
}

async function stick(size: number): Promise<string> {
  const path = join(await temporary(), 'stick');
  await writeFile(path, Buffer.alloc(size, 0xaa));
  return path;
}

interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the guest does: finds the sticks, and calls the command again and again. One process is enough for that. */
const IN_THE_GUEST = `
  const { Writable } = require('stream'), syscall = require('/sbin/syscalls.node');
  const [MOUNT, UMOUNT, IOCTL, READ_PARTITIONS] = [165, 166, 16, 0x125f];
  const sizeOf = (name) => Number(fs.readFileSync('/sys/block/' + name + '/size')) * 512;
  const done = (number) => { if (number < 0) throw new Error('error ' + -number); };
  (async () => {
    const { main } = await import('nodeos');
    const flash = async (...words) => {
      const text = { stdout: '', stderr: '' };
      const into = (name) => new Writable({ write(chunk, _, next) { text[name] += chunk; next(); } });
      const { signal } = new AbortController();
      const io = { stdout: into('stdout'), stderr: into('stderr'), stdin: {}, env: {}, signal, kill: signal };
      return { status: await main(['flash', ...words], io), ...text };
    };
    let names = [];
    for (let tries = 0; names.length < Object.keys(STICKS).length && tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      names = fs.readdirSync('/sys/block').filter((name) => /^sd/.test(name) && sizeOf(name) > 0);
    }
    const paths = Object.fromEntries(Object.entries(STICKS).map(([stick, size]) => [stick, '/dev/' + names.find((name) => sizeOf(name) === size)]));
    const answers = {
      list: await flash(), drives: await flash('--json'), unconfirmed: await flash('image', paths.good),
      small: await flash('image', paths.small, '--yes'), locked: await flash('image', paths.locked, '--yes'),
      runtime: await flash('image', '/dev/pmem0', '--yes'), flashed: await flash('image', paths.good, '--yes', '--json'),
    };
    // The kernel reads the new table when it is told to.
    const drive = fs.openSync(paths.good);
    done(syscall(IOCTL, drive, READ_PARTITIONS, 0));
    fs.closeSync(drive);
    answers.part = await flash('image', paths.good + '1', '--yes');
    fs.mkdirSync('/tmp/volume');
    done(syscall(MOUNT, paths.good + '1', '/tmp/volume', 'vfat', 1, ''));
    answers.mounted = await flash('image', paths.good, '--yes');
    const noise = fs.readFileSync('/tmp/volume/NOISE').length;
    done(syscall(UMOUNT, '/tmp/volume', 0));
    // What the list does not know of: another process that has the drive for itself.
    const taken = fs.openSync(paths.good, fs.constants.O_RDWR | fs.constants.O_EXCL);
    answers.taken = await flash('image', paths.good, '--yes');
    fs.closeSync(taken);
    console.log(JSON.stringify({ paths, answers, noise }));
  })();
`;

describe('nodeos flash in a guest', { timeout: LONG }, () => {
  it('lists USB sticks, refuses what is in use, and writes one that the host then finds right', async () => {
    const image = await diskImage();
    const sticks = {
      good: await stick(STICKS.good),
      small: await stick(STICKS.small),
      locked: await stick(STICKS.locked),
    };
    const drives = Object.entries(sticks).flatMap(([name, path]) => [
      ...['-drive', `if=none,id=${name},format=raw,file=${path},readonly=${name === 'locked' ? 'on' : 'off'}`],
      ...['-device', `usb-storage,bus=usb.0,removable=on,drive=${name}`],
    ]);
    const code = `const STICKS = ${JSON.stringify(STICKS)};${IN_THE_GUEST}`;
    const machine = [await commandWith(image), '-m', '768M', '--timeout', '300'];
    const { status, stdout, stderr } = await exec(code, ...machine, '--', '-device', 'qemu-xhci,id=usb', ...drives);
    expect(status, stderr).toBe(0);
    const { paths, answers, noise } = JSON.parse(stdout) as {
      paths: Record<Stick, string>;
      answers: Record<string, Answer>;
      noise: number;
    };

    expect(answers['list']?.stdout).toContain(`${paths.good}  QEMU QEMU HARDDISK, 64 MiB, USB, removable\n`);
    expect(answers['list']?.stdout).toMatch(/\/dev\/pmem0 .*\n {4}not overwritten: .*pmem0 is mounted at \/usr/);
    const listed = answers['drives']?.stdout.trim().split('\n').map((line) => JSON.parse(line) as object); // prettier-ignore
    const common = { event: 'drive', model: 'QEMU QEMU HARDDISK', bus: 'USB', isRemovable: true, mounts: [] };
    for (const [name, path] of Object.entries(paths) as [Stick, string][])
      expect(listed).toContainEqual({
        ...common,
        name: path.slice('/dev/'.length),
        path,
        size: STICKS[name],
        refusals: name === 'locked' ? ['it is read-only'] : [],
      });

    expect(answers['unconfirmed']).toMatchObject({ status: 2, stderr: expect.stringContaining('--yes') as string });
    const refused: Readonly<Record<string, string>> = {
      small: `image has ${SIZE} bytes, and ${paths.small} only ${STICKS.small}`,
      locked: `${paths.locked} is not overwritten: it is read-only`,
      runtime: '/dev/pmem0 is not overwritten: pmem0 is mounted at /usr',
      part: `${paths.good}1 is no drive of this machine as a whole`,
      taken: `${paths.good} is in use: it is not overwritten`,
      mounted: `${paths.good}1 is mounted at /tmp/volume`.slice('/dev/'.length),
    };
    for (const [name, reason] of Object.entries(refused)) {
      expect(answers[name]?.stderr, name).toContain(reason);
      expect(answers[name]?.status, name).toBeGreaterThan(0);
    }

    const flashed = answers['flashed'];
    expect(flashed?.status, flashed?.stderr).toBe(0);
    const result = JSON.parse(flashed?.stdout.trim().split('\n').at(-1) ?? '') as object;
    expect(result).toMatchObject({ event: 'result', device: paths.good, isDirect: true });
    expect(noise).toBe(MIB);
    await run('cmp', ['-n', String(SIZE), image, sticks.good]);
    // Behind the image is what was there, but for marks of the check of the capacity, and the end.
    const bytes = await readFile(sticks.good);
    expect(bytes.subarray(SIZE + MIB, 16 * MIB).every((byte) => byte === 0xaa)).toBe(true);
    expect(bytes.subarray(-MIB).every((byte) => byte === 0)).toBe(true);
    for (const name of ['small', 'locked'] as const)
      expect(
        (await readFile(sticks[name])).every((byte) => byte === 0xaa),
        name,
      ).toBe(true);
  });
});
