/** Runs the examples of the README of @nodeos/linuxfs unchanged. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { blocksOf, startExample } from '../../packages/block/test/readme.js';
import { LONG, temporary } from '../support.js';
import { builtKernel, emptyDisk } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

const examples = blocksOf(new URL('../../packages/linuxfs/README.md', import.meta.url), 'js');
const OUTPUTS = [
  /type: 'vfat', label: 'BOOT', partition: 1.*\/ overlays\n\/ config\.json\n$/s,
  /^755 \n?.*755 bin\n755 bin\/tool\n$/s,
  /^\[ 'lost\+found' \]\n$/,
  /^root:x:0:0\n$/,
];

/** What the examples find: a card with a FAT, and an ext4 with a file. */
function prepare(folder: string): void {
  mkdirSync(join(folder, 'files'));
  writeFileSync(join(folder, 'files/index.html'), 'hello');
  renameSync(emptyDisk(folder, 'ext4'), join(folder, 'root.ext4'));
  writeFileSync(join(folder, 'passwd'), 'root:x:0:0\n');
  writeFileSync(join(folder, 'commands'), 'mkdir etc\nwrite passwd etc/passwd\n');
  execFileSync('debugfs', ['-w', '-f', 'commands', 'root.ext4'], { cwd: folder, stdio: 'pipe' });
  const [card, boot] = [join(folder, 'sdcard.img'), join(folder, 'boot')];
  for (const [path, size] of [[card, 66] as const, [boot, 64] as const]) {
    writeFileSync(path, '');
    truncateSync(path, size << 20);
  }
  execFileSync('mkfs.vfat', ['-n', 'BOOT', boot], { stdio: 'pipe' });
  execFileSync('sgdisk', ['-n', '1:2048:+64M', card], { stdio: 'pipe' });
  execFileSync('dd', [`if=${boot}`, `of=${card}`, 'bs=1M', 'seek=1', 'conv=notrunc', 'status=none']);
}

it('has an expected output for every example', () => expect(examples).toHaveLength(OUTPUTS.length));

it.each(OUTPUTS.map((output, index) => [index, output] as const))('runs example %i', async (index, output) => {
  process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
  onTestFinished(() => {
    delete process.env['NODEOS_LINUXFS_KERNEL'];
  });
  const folder = join(await temporary(), 'example');
  mkdirSync(folder);
  prepare(folder);
  expect(await startExample(examples[index] ?? '', folder).ended).toMatch(output);
  if (index === 1) expect(readFileSync(join(folder, 'etc.tar')).includes('hostname')).toBe(true);
});
