/** nodeos image with the filesystems of Linux: files into images and out of them, checks, and a shell. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtKernel, checked, emptyDisk } from '../linuxfs/disks.js';
import { LONG, nodeos, ROOT, start, temporary, type Finished } from '../support.js';
import { openTerminal } from '../terminal.js';

const NODEOS = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;

beforeAll(async () => void (process.env['NODEOS_LINUXFS_KERNEL'] = await builtKernel()), LONG);
afterAll(() => {
  delete process.env['NODEOS_LINUXFS_KERNEL'];
});

/** Runs an action that succeeds. @returns its standard output */
async function image(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await nodeos('image', ...args);
  expect(status, stderr).toBe(0);
  return stdout;
}

/** Runs an action with standard input. */
function withInput(input: string, ...args: string[]): Promise<Finished> {
  const running = start(['image', ...args]);
  running.child.stdin?.end(input);
  return running.ended;
}

/** Waits until somebody writes the disk that `emptyDisk` made there. */
async function lockIn(folder: string): Promise<void> {
  await expect.poll(() => readdir(folder), { timeout: 60_000, interval: 5 }).toContain('ext4.img.lock');
}

/** A folder with a file of each kind, whose times and modes are odd. */
async function files(folder: string): Promise<string> {
  const path = join(folder, 'files');
  await mkdir(join(path, 'sub'), { recursive: true });
  await writeFile(join(path, 'sub/tool'), '#!/bin/sh\n');
  await chmod(join(path, 'sub/tool'), 0o750);
  await utimes(join(path, 'sub/tool'), 1e9, 1e9);
  await symlink('sub/tool', join(path, 'link'));
  await writeFile(join(path, 'big'), Buffer.alloc((2 << 20) + 1, 'big'));
  await utimes(join(path, 'sub'), 5e8, 5e8);
  return path;
}

/** A disk with a FAT of 64 MiB and an ext4 of 48 MiB. */
function card(folder: string): string {
  const [path, boot, root] = ['card.img', 'boot', 'root'].map((name) => join(folder, name)) as [string, string, string];
  for (const [file, size] of [[path, 114] as const, [boot, 64] as const, [root, 48] as const]) {
    writeFileSync(file, '');
    truncateSync(file, size << 20);
  }
  execFileSync('mkfs.vfat', ['-n', 'BOOT', boot], { stdio: 'pipe' });
  execFileSync('mkfs.ext4', ['-q', '-L', 'root', root]);
  execFileSync('sgdisk', ['-n', '1:2048:+64M', '-n', '2:0:+48M', path], { stdio: 'pipe' });
  for (const [file, at] of [[boot, 1] as const, [root, 65] as const])
    execFileSync('dd', [`if=${file}`, `of=${path}`, 'bs=1M', `seek=${at}`, 'conv=notrunc', 'status=none']);
  return path;
}

describe('nodeos image cp', () => {
  it.each(['ext4', 'xfs', 'btrfs', 'f2fs'])(
    'takes a folder into %s and out again, with modes and times',
    async (type) => {
      const folder = await temporary();
      const [from, disk, out] = [await files(folder), emptyDisk(folder, type), join(folder, 'out')];
      await image('cp', '-r', from, `${disk}:/`);
      await image('cp', '-r', `${disk}/files`, out);
      expect(execFileSync('diff', ['-r', '--no-dereference', from, out], { encoding: 'utf8' })).toBe('');
      for (const name of ['', 'sub', 'sub/tool', 'big']) {
        const [one, other] = [await lstat(join(from, name)), await lstat(join(out, name))];
        expect({ name, mode: other.mode, time: Math.floor(other.mtimeMs) }).toEqual({ name, mode: one.mode, time: Math.floor(one.mtimeMs) }); // prettier-ignore
      }
      expect(await readlink(join(out, 'link'))).toBe('sub/tool');
      expect(checked(disk, type)).toMatchObject({ status: 0 });
    },
  );

  it('copies between images, partitions, and within one', async () => {
    const folder = await temporary();
    const [disk, xfs] = [card(folder), emptyDisk(folder, 'xfs')];
    await writeFile(join(folder, 'config.json'), '{}');
    await image('cp', join(folder, 'config.json'), `${disk}:1/`);
    await image('cp', `${disk}:1/config.json`, `${disk}:2/etc.json`);
    await image('cp', `${disk}:2/etc.json`, `${disk}:2/twice.json`);
    await image('cp', '--owner', '7:8', `partition:2:${disk}:/twice.json`, `${xfs}/new.json`);
    expect(await image('cat', `${xfs}/new.json`)).toBe('{}');
    expect(await image('ls', xfs)).toMatch(/^-0644 7:8 +2 \S+ \S+ new\.json\n$/);
    expect(await image('ls', `${disk}:2`)).toContain('twice.json');
  });

  it('takes standard input, and gives standard output', async () => {
    const disk = emptyDisk(await temporary(), 'ext4');
    expect(await withInput('of a stream', 'cp', '-', `${disk}/new`)).toMatchObject({ status: 0 });
    expect(await image('cp', `${disk}/new`, '-')).toBe('of a stream');
    expect(await image('ls', `${disk}/new`)).toContain('-0644 0:0');
    expect(await withInput('', 'cp', '-', `${disk}:/`)).toMatchObject({ status: 2 });
  });

  it('says what it cannot do, with the status of wrong usage where it is that', async () => {
    const folder = await temporary();
    const [from, disk, fat] = [await files(folder), emptyDisk(folder, 'ext4'), emptyDisk(folder, 'vfat')];
    const failing = async (...args: string[]): Promise<string> => {
      const { status, stderr } = await nodeos('image', ...args);
      return `${status} ${stderr}`;
    };
    expect(await failing('cp', from, `${disk}:/`)).toMatch(/^2 .*files is a folder\n {2}with all .*--recursive/);
    expect(await failing('cp', from, folder)).toMatch(/^2 .*nothing here names a place in an image/);
    expect(await failing('cp', `${disk}/missing`, folder)).toMatch(/^1 .*there is no missing in it/);
    expect(await failing('cp', join(from, 'big'), `${disk}/no/where`)).toMatch(/^1 .*ENOENT.*'\/no'/);
    expect(await failing('cp', join(from, 'big'), `${card(folder)}:7/x`)).toMatch(/^1 .*there is no partition 7/);
    expect(await failing('cat', `${disk}:0/x`)).toMatch(/^2 .*counted from 1/);
    const fatty = await nodeos('image', 'cp', '-r', '--json', from, `${fat}:/`);
    expect(fatty.stderr).toContain('1 links and devices are left out, which vfat has not, such as files/link');
    expect(JSON.parse(fatty.stdout)).toMatchObject({ event: 'done', files: 5, bytes: (2 << 20) + 11 });
  });

  it('is interrupted between two files, and the image stays whole', async () => {
    const folder = await temporary();
    const [disk, from] = [emptyDisk(folder, 'ext4'), join(folder, 'many')];
    await mkdir(from);
    for (let i = 0; i < 6000; i++) writeFileSync(join(from, String(i)), 'x'.repeat(2000));
    const running = start(['image', 'cp', '-r', from, `${disk}:/`]);
    await lockIn(folder);
    await sleep(700);
    running.child.kill('SIGINT');
    expect((await running.ended).status).toBe(130);
    expect(checked(disk, 'ext4')).toMatchObject({ status: 0 });
    expect(await readdir(folder)).toEqual(['ext4.img', 'many']);
    const count = (await image('ls', `${disk}/many`)).split('\n').length;
    expect(count).toBeGreaterThan(1);
    expect(count).toBeLessThan(6000);
  });
});

describe('nodeos image', () => {
  it('lists and reads what only Linux reads, whose journal was not replayed, and changes nothing', async () => {
    const folder = await temporary();
    const disk = card(folder);
    await image('cp', '-r', await files(folder), `${disk}:2/`);
    const digest = (): string => execFileSync('sha256sum', [disk], { encoding: 'utf8' });
    const before = digest();
    expect(await image('ls', `${disk}:2/files/sub`)).toMatch(/^d0755 .* files\/sub\n-0750 0:0 .* 2001-09-09 01:46 files\/sub\/tool\n$/); // prettier-ignore
    expect(await image('cat', `${disk}:2/files/link/../sub/tool`)).toBe('#!/bin/sh\n');
    expect(await image('info', disk)).toMatch(/partition 2 .*ext4 root\n$/);
    expect(digest()).toBe(before);
    const { status, stderr } = await nodeos('image', 'ls', disk);
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining(`it is a disk: ${disk}:1, ${disk}:2`) as string }); // prettier-ignore
  });

  it('unpacks and archives, the same bytes each time', async () => {
    const folder = await temporary();
    const [from, disk] = [await files(folder), emptyDisk(folder, 'btrfs')];
    await image('cp', '-r', from, `${disk}:/`);
    await image('extract', `${disk}/files`, join(folder, 'out'));
    expect(execFileSync('diff', ['-r', '--no-dereference', from, join(folder, 'out')], { encoding: 'utf8' })).toBe('');
    const done = JSON.parse(await image('tar', `${disk}/files`, join(folder, 'one.tar'), '--json')) as object;
    expect(done).toMatchObject({ files: 5, bytes: statSync(join(folder, 'one.tar')).size });
    const streamed = execFileSync('sh', ['-c', `${NODEOS} image tar ${disk}/files`], { maxBuffer: 1 << 26 });
    expect(streamed.equals(readFileSync(join(folder, 'one.tar')))).toBe(true);
    expect(execFileSync('tar', ['-tf', '-'], { input: streamed, encoding: 'utf8' })).toBe(
      './\nbig\nlink\nsub/\nsub/tool\n',
    );
  });

  it('removes files and folders', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    await image('cp', '-r', await files(folder), `${disk}:/`);
    expect((await nodeos('image', 'rm', `${disk}/files`)).stderr).toContain('with all that is in it: --recursive');
    expect((await nodeos('image', 'rm', `${disk}/nothing`)).stderr).toContain('ENOENT');
    expect((await nodeos('image', 'rm', '-r', `${disk}:/`)).stderr).toContain('is all of the filesystem');
    await image('rm', '-f', `${disk}/nothing`);
    await image('rm', '-r', `${disk}/files/sub`, `${disk}/files/big`);
    expect(await image('ls', `${disk}/files`)).toMatch(/^d\S+ .* files\nl\S+ .*link -> sub\/tool\n$/);
  });

  it('edits with $EDITOR, and keeps owner and mode; an editor that fails changes nothing', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    await writeFile(join(folder, 'hostname'), 'old\n', { mode: 0o640 });
    await image('cp', '--owner', '5:6', join(folder, 'hostname'), `${disk}:/`);
    const editing = (editor: string): Promise<Finished> =>
      start(['image', 'edit', `${disk}/hostname`], { env: { EDITOR: editor, VISUAL: '' } }).ended;
    expect(await editing('sed -i s/old/new/')).toMatchObject({ status: 0 });
    expect(await image('cat', `${disk}/hostname`)).toBe('new\n');
    expect(await image('ls', `${disk}/hostname`)).toContain('-0640 5:6');
    expect((await editing('true')).stderr).toContain('/hostname is unchanged');
    const failed = await editing('sh -c "echo half > $1; exit 3" x');
    expect(failed).toMatchObject({ status: 1, stderr: expect.stringContaining('status 3: nothing is changed') as string }); // prettier-ignore
    expect((await editing('no-such-editor')).stderr).toContain('set EDITOR');
    expect(await image('cat', `${disk}/hostname`)).toBe('new\n');
  });

  it('has one writer at a time', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    const writer = start(['image', 'cp', '-', `${disk}/slow`]);
    writer.child.stdin?.write('first');
    await lockIn(folder);
    const other = await nodeos('image', 'rm', '-f', `${disk}/x`);
    expect(other).toMatchObject({ status: 1, stderr: expect.stringContaining('somebody else writes it') as string });
    writer.child.stdin?.end('last');
    expect(await writer.ended).toMatchObject({ status: 0 });
    expect(await image('cat', `${disk}/slow`)).toBe('firstlast');
  });

  it('needs no kernel for what our readers read', async () => {
    const folder = await temporary();
    const fat = emptyDisk(folder, 'vfat');
    await image('cp', '-r', await files(folder), `${fat}:/`);
    const without = start(['image', 'cp', `${fat}/files/sub/tool`, folder], {
      env: { NODEOS_LINUXFS_KERNEL: '/none' },
    });
    expect(await without.ended).toMatchObject({ status: 0 });
    expect(await readFile(join(folder, 'tool'), 'utf8')).toBe('#!/bin/sh\n');
    const missing = await start(['image', 'rm', `${fat}/files/big`], { env: { NODEOS_LINUXFS_KERNEL: '/none' } }).ended;
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining('/none is no kernel') as string });
  });
});

describe('nodeos image mkfs, fsck and resize', () => {
  it.each(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'vfat', 'exfat'])(
    'make, fill and check %s',
    async (type) => {
      const folder = await temporary();
      const [from, disk] = [await files(folder), join(folder, `new.${type}`)];
      await image('mkfs', disk, '--size', '384M', '--label', 'data', '--from', from);
      expect(await image('cat', `${disk}/sub/tool`)).toBe('#!/bin/sh\n');
      const found = JSON.parse(await image('fsck', disk, '--json')) as object;
      expect(found).toMatchObject({ type, isSound: true });
      expect((await nodeos('image', 'mkfs', disk, '--size', '384M')).stderr).toContain('has a filesystem');
      expect(checked(disk, type)).toMatchObject({ status: 0 });
      expect((await readdir(folder)).sort()).toEqual(['files', `new.${type}`]);
    },
  );

  it.each(['erofs', 'squashfs', 'iso9660'])('make %s of a folder', async (type) => {
    const folder = await temporary();
    const [from, disk] = [await files(folder), join(folder, `new.${type}`)];
    await image('mkfs', disk, '--from', from);
    expect(await image('cat', `${disk}/sub/tool`)).toBe('#!/bin/sh\n');
    expect((await nodeos('image', 'rm', `${disk}/sub/tool`)).stderr).toContain('EROFS');
    expect((await nodeos('image', 'mkfs', join(folder, 'x'), '-t', type)).stderr).toContain('--from FOLDER');
  });

  it('work in partitions, and take archives', async () => {
    const folder = await temporary();
    const disk = card(folder);
    execFileSync('tar', ['-C', await files(folder), '-cf', join(folder, 'files.tar'), '.']);
    expect((await nodeos('image', 'mkfs', `${disk}:2`, '-t', 'ext4')).stderr).toContain('has a filesystem (ext4)');
    await image('mkfs', `${disk}:2`, '-t', 'ext4', '--force', '--from', join(folder, 'files.tar'));
    expect(await image('cat', `${disk}:2/sub/tool`)).toBe('#!/bin/sh\n');
    expect(await image('fsck', `${disk}:1`)).toBeTruthy();
    await image('fsck', `${disk}:2`);
    expect(await image('info', disk)).toContain('fat'); // the other partition is what it was
  });

  it('say that a filesystem is damaged, by the status too, and mend it', async () => {
    const disk = emptyDisk(await temporary(), 'ext4');
    execFileSync('debugfs', ['-w', '-R', 'clri <11>', disk], { stdio: 'pipe' });
    const found = await nodeos('image', 'fsck', disk);
    expect(found).toMatchObject({ status: 1, stderr: expect.stringContaining('ext4, damaged, says e2fsck') as string });
    await image('fsck', disk, '--repair');
    await image('fsck', disk);
    const [xfs, text] = [emptyDisk(await temporary(), 'btrfs'), join(await temporary(), 'text')];
    expect((await nodeos('image', 'fsck', xfs, '--repair')).stderr).toContain('can make it worse');
    await writeFile(text, 'no filesystem');
    expect((await nodeos('image', 'fsck', text)).stderr).toContain('there is no filesystem here that is known');
  });

  it('make ext4 larger and smaller with what is in it', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    await image('cp', '-r', await files(folder), `${disk}:/`);
    expect(JSON.parse(await image('resize', disk, '+128M', '--json'))).toMatchObject({ after: 512 << 20 });
    await image('resize', disk, '64M');
    expect(statSync(disk).size).toBe(64 << 20);
    expect((await nodeos('image', 'resize', disk, '1M')).status).toBe(1);
    expect(checked(disk, 'ext4')).toMatchObject({ status: 0 });
    expect(await image('cat', `${disk}/files/sub/tool`)).toBe('#!/bin/sh\n');
  });

  it('make xfs larger, and btrfs larger and smaller, by Linux itself', async () => {
    const folder = await temporary();
    const from = await files(folder);
    for (const type of ['xfs', 'btrfs']) {
      const disk = emptyDisk(folder, type);
      await image('cp', '-r', from, `${disk}:/`);
      expect(JSON.parse(await image('resize', disk, '1G', '--json'))).toMatchObject({ after: 1 << 30 });
      expect(checked(disk, type)).toMatchObject({ status: 0 });
      const smaller = await nodeos('image', 'resize', disk, '512M');
      expect(smaller.status).toBe(type === 'btrfs' ? 0 : 1);
      if (type === 'xfs') expect(smaller.stderr).toMatch(/Linux does not make it so large: E[A-Z]+/);
      expect(statSync(disk).size).toBe(type === 'btrfs' ? 512 << 20 : 1 << 30);
      expect(checked(disk, type)).toMatchObject({ status: 0 });
      expect(await image('cat', `${disk}/files/sub/tool`)).toBe('#!/bin/sh\n');
    }
    expect((await nodeos('image', 'resize', emptyDisk(folder, 'vfat'), '1G')).stderr).toContain('make a new one');
  });
});

describe('nodeos image shell', () => {
  it('runs lines of standard input, up to the first that fails', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    const from = await files(folder);
    await cp(from, join(folder, 'a b'), { recursive: true });
    const done = await withInput(
      `mkdir -p /srv/www\ncp -r 'host:${folder}/a b' /srv\ncd '/srv/a b'\npwd\nls\nmv sub/tool tool\ncat tool\nls -l tool\nexit\nrm -r /\n`,
      'shell',
      disk,
    );
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toMatch(/^\/srv\/a b\nbig\nlink\nsub\/\n#!\/bin\/sh\n-0750 0:0 .* tool\n$/);
    const fat = emptyDisk(folder, 'vfat');
    const copied = await withInput(`cp -r host:${from} /\nls /files\n`, 'shell', fat);
    expect(copied.stdout).toContain('1 links and devices are left out, which vfat has not, such as files/link');
    expect(copied.stdout).toContain('big');
    const failed = await withInput('cd /nowhere\nmkdir /never\n', 'shell', disk);
    expect(failed).toMatchObject({ status: 1, stderr: expect.stringContaining('ENOENT') as string });
    expect(await image('ls', disk)).not.toContain('never');
  });

  it('has a prompt, completes names, and survives Ctrl-C', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    await image('cp', '-r', await files(folder), `${disk}:/`);
    const terminal = await openTerminal(100, 30, { EDITOR: 'sed -i s/sh/bash/', VISUAL: '' });
    await terminal.type(`${NODEOS} image shell ${disk}`);
    await terminal.waitForScreen(/ext4:\/>\s*$/);
    await terminal.type('cd files/sub');
    await terminal.waitForScreen(/ext4:\/files\/sub>\s*$/);
    await terminal.press('c', 'a', 't', 'Space', 't', 'o', 'Tab');
    await terminal.waitForScreen(/cat tool/);
    await terminal.press('Enter');
    await terminal.waitForScreen(/^#!\/bin\/sh$/m);
    await terminal.press('x', 'y');
    await terminal.waitForScreen(/sub> xy\s*$/);
    await terminal.press('C-c');
    await terminal.waitForScreen(/bin\/sh\n.*sub>\s*$/);
    await terminal.type('edit tool');
    await terminal.type('cat tool');
    await terminal.waitForScreen(/^#!\/bin\/bash$/m);
    await terminal.type('what');
    await terminal.waitForScreen(/what: there is no such command; help says which there are/);
    await terminal.press('C-d');
    await terminal.waitForPrompt();
    expect(checked(disk, 'ext4')).toMatchObject({ status: 0 });
    expect(await image('cat', `${disk}/files/sub/tool`)).toBe('#!/bin/bash\n');
  });
});

describe('in a terminal', () => {
  it('Ctrl-C of a copy leaves a sound image, and no process', async () => {
    const folder = await temporary();
    const disk = emptyDisk(folder, 'ext4');
    const terminal = await openTerminal(100, 30);
    await terminal.type(`yes | ${NODEOS} image cp - ${disk}/endless`);
    await terminal.waitForScreen(/cp -/);
    await lockIn(folder);
    await sleep(500);
    await terminal.press('C-c');
    await terminal.waitForScreen(/interrupted by SIGINT/);
    await terminal.waitForPrompt();
    await terminal.type('echo status $?');
    await terminal.waitForScreen(/status 130/);
    expect(checked(disk, 'ext4')).toMatchObject({ status: 0 });
    expect(await readdir(folder)).toEqual(['ext4.img']);
    expect(await image('ls', disk)).not.toContain('endless');
  });
});
