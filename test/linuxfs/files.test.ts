/** Disks and mounts, with the kernel as users have it. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdir, open as openFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { delay, fault, memory } from '@nodeos/block';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import { beforeAll, describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk, opened } from './disks.js';

beforeAll(async () => {
  await builtKernel();
}, LONG);

/** The processes of kernels that this one started. */
const kernels = (): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('linuxfs\0') && parentOf(pid) === process.pid;
    } catch {
      return false;
    }
  });
const parentOf = (pid: string): number =>
  Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

describe('a disk', () => {
  it.each([
    ['ext2', ['mkfs.ext2']],
    ['ext3', ['mkfs.ext3']],
    ['ext4', ['mkfs.ext4']],
    ['ext4', ['mkfs.ext4', '-O', '^has_journal']],
    ['ext3', ['mkfs.ext2', '-j']],
    ['ext4', ['mkfs.ext2', '-O', 'extent']],
    ['ext2', ['mkfs.ext2', '-O', '^dir_index,^resize_inode,meta_bg']],
  ] as const)('says %s of what %j makes, as blkid does, and mounts it', async (type, [program, ...args]) => {
    const image = join(await temporary(), 'image');
    writeFileSync(image, '');
    truncateSync(image, 32 << 20);
    execFileSync(program, ['-q', ...args, image], { stdio: 'pipe' });
    expect(execFileSync('blkid', ['-o', 'value', '-s', 'TYPE', image], { encoding: 'utf8' }).trim()).toBe(type);
    const disk = await opened(image);
    expect((await disk.filesystems()).map((one) => one.type)).toEqual([type]);
    const mounted = await disk.mount();
    expect(mounted.type).toBe(type);
    await mounted.promises.writeFile('/x', 'content', { flush: true });
  });

  it('has small files in inodes, which grow by name and by handle, after a mount', async () => {
    const image = join(await temporary(), 'image');
    writeFileSync(image, '');
    truncateSync(image, 8 << 20);
    execFileSync('mkfs.ext4', ['-q', '-F', '-O', 'inline_data', '-I', '256', image], { stdio: 'pipe' });
    const disk = await opened(image);
    const sizes = [0, 30, 120, 150];
    const grown = [40, 100, 200, 5000];
    const before = await disk.mount();
    for (const size of sizes)
      for (const to of grown)
        for (const how of ['name', 'handle'])
          await before.promises.writeFile(`/${how}-${size}-${to}`, Buffer.alloc(size, 'x'));
    await before.unmount();
    const wanted = (size: number, to: number): Buffer =>
      Buffer.concat([Buffer.alloc(Math.min(size, to), 'x'), Buffer.alloc(Math.max(0, to - size))]);
    const check = async ({ promises }: MountedFilesystem): Promise<void> => {
      for (const size of sizes)
        for (const to of grown)
          for (const how of ['name', 'handle'])
            expect(await promises.readFile(`/${how}-${size}-${to}`), `${how} ${size} ${to}`).toEqual(wanted(size, to));
    };
    const mounted = await disk.mount(); // the inodes are read anew
    for (const size of sizes) {
      for (const to of grown) {
        await mounted.promises.truncate(`/name-${size}-${to}`, to);
        const handle = await mounted.promises.open(`/handle-${size}-${to}`, 'r+');
        await handle.truncate(to);
        await handle.close();
      }
    }
    await check(mounted);
    await mounted.unmount();
    const after = await disk.mount();
    await check(after);
    await after.unmount();
    expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
  });

  it('has partitions, which are mounted by number, label and UUID; what is not there is named', async () => {
    const folder = await temporary();
    const image = join(folder, 'disk.img');
    const [boot, root] = [join(folder, 'boot.img'), join(folder, 'root.img')];
    for (const [path, size] of [[image, 96] as const, [boot, 40] as const, [root, 48] as const]) {
      writeFileSync(path, '');
      truncateSync(path, size << 20);
    }
    execFileSync('mkfs.vfat', ['-F', '32', '-n', 'BOOT', boot], { stdio: 'pipe' });
    const uuid = '01234567-89ab-cdef-0123-456789abcdef';
    execFileSync('mkfs.ext4', ['-q', '-L', 'root', '-U', uuid, root]);
    execFileSync('sgdisk', ['-n', '1:2048:+40M', '-n', '2:0:+48M', image], { stdio: 'pipe' });
    const disk = await openFile(image, 'r+');
    await disk.write(readFileSync(boot), 0, 40 << 20, 2048 * 512);
    await disk.write(readFileSync(root), 0, 48 << 20, (2048 + 81920) * 512);
    await disk.close();

    const linux = await opened(image);
    expect(await linux.filesystems()).toEqual([
      { type: 'vfat', label: 'BOOT', partition: 1 },
      { type: 'ext4', label: 'root', uuid, partition: 2 },
    ]);
    const [first, second] = [await linux.mount({ partition: 1 }), await linux.mount({ label: 'root' })];
    await first.promises.writeFile('/config.json', '{}');
    await second.promises.writeFile('/config.json', '{"root":true}');
    await linux.close();
    const again = await opened(image, { readOnly: true });
    const [vfat, ext4] = [await again.mount({ label: 'BOOT' }), await again.mount({ uuid })];
    expect(await vfat.promises.readFile('/config.json', 'utf8')).toBe('{}');
    expect(await ext4.promises.readFile('/config.json', 'utf8')).toBe('{"root":true}');
    await expect(ext4.promises.writeFile('/x', '')).rejects.toMatchObject({ code: 'EROFS' });
    await expect(again.mount({ partition: 7 })).rejects.toThrow(/no partition 7/);
    await expect(again.mount({ label: 'nobody' })).rejects.toThrow(
      /no filesystem has the label "nobody".*"BOOT", "root"/,
    );
    await expect(again.mount()).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(opened('nbd://host/export')).rejects.toThrow(/"nbd:\/\/host\/export" is no file .* openSource/);
    await expect(opened('oci:folder:name')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('may be any block device; its errors are those of the calls', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'ext4');
    const bytes = await readFile(image);
    const inMemory = memory(bytes.length);
    await inMemory.write?.(bytes, 0);
    const faults = [
      { operations: ['write', 'flush'] as const, range: { offset: 0, length: 384 << 20 }, nth: 400, code: 'ENOSPC' },
    ];
    const failing = await opened(fault(inMemory, faults));
    const doomed = await failing.mount();
    const writing = (async () => {
      for (let i = 0; ; i++) await doomed.promises.writeFile(`/f${i}`, randomBytes(4096), { flush: true });
    })();
    await expect(writing).rejects.toMatchObject({ code: expect.stringMatching(/^(ENOSPC|EIO|EROFS)$/) as unknown });
    await failing.close().catch(() => undefined);
    await inMemory.write?.(bytes, 0);
    const disk = await opened(delay(inMemory, 2));
    const mounted = await disk.mount();
    await mounted.promises.writeFile('/a', 'slow');
    await mounted.unmount();
    const again = await disk.mount();
    expect(await again.promises.readFile('/a', 'utf8')).toBe('slow');
  });

  it('leaves no process, whatever was open, and answers nothing afterwards', async () => {
    const disk = await opened(emptyDisk(await temporary(), 'ext4'));
    const mounted = await disk.mount();
    const handle = await mounted.promises.open('/open', 'w');
    await handle.write('text');
    expect(kernels()).toHaveLength(1);
    await disk.close();
    await disk.close();
    expect(kernels()).toEqual([]);
    await expect(mounted.promises.stat('/')).rejects.toMatchObject({ code: 'EBADF' });
  });
});

describe.each(['squashfs', 'erofs', 'iso9660'])('%s', (type) => {
  it('is read, with links, names and modes', async () => {
    const folder = await temporary();
    const [tree, image] = [join(folder, 'tree'), join(folder, 'image')];
    await mkdir(join(tree, 'sub'), { recursive: true });
    const big = randomBytes(3_000_000);
    await writeFile(join(tree, 'big'), big);
    await writeFile(join(tree, 'sub/ö'), 'name', { mode: 0o640 });
    execFileSync('ln', ['-s', 'sub/ö', join(tree, 'link')]);
    const made: Record<string, string[]> = {
      squashfs: ['mksquashfs', tree, image, '-quiet', '-no-progress'],
      erofs: ['mkfs.erofs', '-zlz4hc', image, tree],
      iso9660: ['xorriso', '-as', 'mkisofs', '-R', '-quiet', '-o', image, tree],
    };
    const [command = '', ...args] = made[type] ?? [];
    execFileSync(command, args, { stdio: 'pipe' });
    const { promises } = await (await opened(image)).mount();
    expect((await promises.readFile('/big')).equals(big)).toBe(true);
    expect(await promises.readFile('/link', 'utf8')).toBe('name');
    expect((await promises.stat('/sub/ö')).mode & 0o777).toBe(0o640);
    expect(await promises.readlink('/link')).toBe('sub/ö');
    await expect(promises.writeFile('/new', '')).rejects.toMatchObject({ code: 'EROFS' });
  });
});

/** The same as a promise, through the interface with callbacks. */
const callback = (fs: MountedFilesystem['fs']): Promise<string> =>
  new Promise((resolve, reject) => {
    fs.readFile('/sparse', 'latin1', (error: Error | null, text: string) => (error ? reject(error) : resolve(text)));
  });

describe('the interface', () => {
  it('streams, seeks, has attributes, devices and owners', async () => {
    const mounted = await (
      await opened(emptyDisk(await temporary(), 'ext4'))
    ).mount({ uid: 12, gid: 34, umask: 0o077 });
    const { promises, fs } = mounted;
    const data = randomBytes(2_500_000);
    await pipeline([data.subarray(0, 1_000_000), data.subarray(1_000_000)], mounted.createWriteStream('/s'));
    const chunks: Buffer[] = [];
    for await (const chunk of mounted.createReadStream('/s', { start: 10 })) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(data.subarray(10))).toBe(true);
    expect(await promises.stat('/s')).toMatchObject({ uid: 12, gid: 34, size: data.length });
    expect((await promises.stat('/s')).mode & 0o777).toBe(0o600);
    await mounted.setxattr({ path: '/s' }, 'user.kind', Buffer.from('stream'));
    expect(await mounted.listxattr({ path: '/s' })).toEqual(['user.kind']);
    expect((await mounted.getxattr({ path: '/s' }, 'user.kind')).toString()).toBe('stream');
    await mounted.volume.mknod('/null', 0o020666, [1, 3]);
    expect((await promises.stat('/null')).isCharacterDevice()).toBe(true);
    await expect(promises.readFile('/null')).rejects.toMatchObject({ code: 'EACCES' });
    const handle = await promises.open('/sparse', 'w+');
    await handle.write('end', 5 << 20);
    expect(await mounted.volume.seek(handle.fd, 0, 'data')).toBe(5 << 20);
    await mounted.volume.allocate(handle.fd, 0, 1 << 20, 0);
    await handle.sync();
    await handle.close();
    expect(await callback(fs)).toHaveLength((5 << 20) + 3);
    expect((await promises.stat('/s', { bigint: true })).mtimeNs).toBeTypeOf('bigint');
    expect(
      await promises.readdir('/', { withFileTypes: true }).then((all) => all.map((one) => one.isFile())),
    ).toContain(true);
  });

  it('keeps names and links within the image', async () => {
    const { promises } = await (await opened(emptyDisk(await temporary(), 'ext4'))).mount();
    await promises.mkdir('/etc');
    await promises.writeFile('/etc/passwd', 'of the image');
    await promises.symlink('/etc/passwd', '/absolute');
    await promises.symlink('../../../../etc/passwd', '/relative');
    for (const path of ['/absolute', '/relative', '../../etc/passwd', '/../../etc/passwd'])
      expect(await promises.readFile(path, 'utf8')).toBe('of the image');
    expect(await promises.realpath('/../..')).toBe('/');
  });
});

describe('a kernel that is killed', () => {
  it('fails every request with EIO and what ended it; what was synced is there', { timeout: LONG }, async () => {
    const image = emptyDisk(await temporary(), 'ext4');
    for (let round = 0; round < 12; round++) {
      const disk = await opened(image);
      const { promises } = await disk.mount();
      const synced: string[] = [];
      const writing = (async () => {
        for (let i = 0; ; i++) {
          const handle = await promises.open(`/r${round}-${i}`, 'w');
          await handle.write(`content ${i}`);
          await handle.sync();
          synced.push(`/r${round}-${i}`);
          await handle.close();
        }
      })();
      setTimeout(() => disk.kill(), 20 + 17 * round);
      await expect(writing).rejects.toMatchObject({
        code: 'EIO',
        cause: { message: expect.stringMatching(/SIGKILL/) },
      });
      await expect(disk.close()).rejects.toMatchObject({ code: 'EIO' }); // nothing more became durable
      const again = await opened(image);
      const found = await again.mount();
      for (const path of synced)
        expect(await found.promises.readFile(path, 'utf8')).toBe(`content ${path.split('-')[1] ?? ''}`);
      await again.close();
      expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
    }
  });
});
