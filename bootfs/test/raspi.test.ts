/** SD cards for the Raspberry Pi, judged by sfdisk, fsck.fat and mtools. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { regions, writeImage } from '@nodeos/block';
import { writeErofs } from '@nodeos/fs';
import { file } from '@nodeos/tree';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCard } from '../raspi/card.js';
import { CONFIG, deviceTreeNames, readConfig } from '../raspi/config.js';

const run = promisify(execFile);
const MIB = 1 << 20;
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const dir = await mkdtemp(join(tmpdir(), 'nodeos-raspi-'));
afterAll(() => rm(dir, { recursive: true }));
const TREES = ['bcm2837-rpi-3-b.dtb', 'bcm2711-rpi-4-b.dtb'];
const FIRMWARE = ['bootcode.bin', 'start.elf', 'fixup.dat', 'start4.elf', 'fixup4.dat'];

/** Writes a file whose content is its name. @returns its path */
async function written(name: string): Promise<string> {
  const path = join(dir, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `this is ${name}\n`);
  return path;
}

async function card(name: string): Promise<string> {
  for (const file of FIRMWARE) await written(`firmware/usr/lib/raspi-firmware/${file}`);
  await written('firmware/usr/share/doc/raspi-firmware/copyright');
  const usr = join(dir, 'usr.erofs');
  await writeErofs([file('node', 'program')], usr);
  const image = await describeCard({
    firmware: join(dir, 'firmware'),
    kernel: await written('Image'),
    deviceTrees: await Promise.all(TREES.map(written)),
    initramfs: await written('initramfs'),
    usr,
    data: await written('data.ext4'),
    words: ['ip=dhcp loglevel=7'],
  });
  const path = join(dir, name);
  const device = regions(image.regions, { size: image.size });
  await writeImage(device, path).finally(() => device.close());
  return path;
}

describe('a card for the Raspberry Pi', () => {
  let path: string;
  let partitions: { start: number; size: number; type: string }[];
  beforeAll(async () => {
    path = await card('card.img');
    const { stdout } = await run('sfdisk', ['--json', path], { env });
    ({ partitions } = (JSON.parse(stdout) as { partitiontable: { partitions: typeof partitions } }).partitiontable);
  });
  const boot = (): string => `${path}@@${4 * MIB}`;

  it('has four partitions: FAT32, two slots of the runtime, and the users’ data', () => {
    expect(partitions.map(({ type }) => type)).toEqual(['c', '83', '83', '83']);
    expect(partitions.map(({ start }) => (start * 512) % (4 * MIB))).toEqual([0, 0, 0, 0]);
    expect(partitions[1]?.size).toBe(partitions[2]?.size);
  });

  it('has a first partition that fsck.fat finds no fault with', async () => {
    const volume = join(dir, 'boot.fat');
    await run('dd', [`if=${path}`, `of=${volume}`, 'bs=1M', 'skip=4', 'count=256', 'conv=sparse', 'status=none']);
    const { stdout } = await run('fsck.fat', ['-n', '-v', volume], { env });
    expect(stdout).toContain('FATs, 32 bit entries');
  });

  it('has what config.txt names, where the firmware looks for it', async () => {
    const read = async (name: string): Promise<string> => (await run('mtype', ['-i', boot(), `::${name}`])).stdout;
    const { kernel, initramfs, commandLine, trees } = readConfig(await read('config.txt'));
    expect(await read(kernel)).toBe('this is Image\n');
    expect(await read(initramfs)).toBe('this is initramfs\n');
    for (const tree of TREES)
      for (const name of deviceTreeNames(tree)) expect(await read(trees + name)).toBe(`this is ${tree}\n`);
    for (const name of FIRMWARE) expect(await read(name)).toBe(`this is firmware/usr/lib/raspi-firmware/${name}\n`);
    expect(await read('LICENCE.firmware')).toContain('copyright');
    const id = (await readFile(path)).readUInt32LE(440).toString(16).padStart(8, '0');
    expect(await read(commandLine)).toMatch(
      new RegExp(`^console=\\S+ .* mount.usr=PARTUUID=${id}-02 nodeos.data=PARTUUID=${id}-04 ip=dhcp loglevel=7\\n$`),
    );
  });

  it('is the same in a second build', async () => {
    await run('cmp', [path, await card('second.img')]);
  });
});

describe('config.txt', () => {
  it('asks for 64 bits, a kernel, an initramfs behind it, and a serial port', () => {
    for (const line of ['arm_64bit=1', 'kernel=kernel8.img', 'initramfs initramfs followkernel', 'enable_uart=1'])
      expect(CONFIG.split('\n')).toContain(line);
    expect(Math.max(...CONFIG.split('\n').map(({ length }) => length))).toBeLessThan(98); // the firmware cuts off there
  });

  it('is read as it is written, and a missing line is named', () => {
    expect(readConfig(CONFIG)).toEqual({
      trees: 'a/',
      kernel: 'a/kernel8.img',
      initramfs: 'a/initramfs',
      commandLine: 'a/cmdline.txt',
    });
    expect(() => readConfig('os_prefix=b/\n')).toThrow('config.txt has no line kernel=…');
  });
});
