/** Trees, archives, forks, locks and signals, with the kernel as users have it. */
import { execFileSync } from 'node:child_process';
import { createWriteStream, readFileSync, renameSync } from 'node:fs';
import { mkdir, open as openFile, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { characterDevice, file, fromDirectory, symlink, type Entry, type Tree } from '@nodeos/tree';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk, opened } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

const big = Buffer.alloc((3 << 20) + 5, 'content');
const TIME = { mtime: -5, nanoseconds: 123_456_789 };
const ENTRIES: readonly Entry[] = [
  { ...file('etc/passwd', 'root:x:0:0\n', 0o600), uid: 3, gid: 4, ...TIME },
  { ...file('usr/bin/su', 'su', 0o4755), xattrs: new Map([['user.kind', Buffer.from([0, 255])]]) },
  file('usr/lib/big', big),
  { ...file('usr/lib/same', big), hardLink: 'usr/lib/big' },
  symlink('bin', 'usr/bin'),
  characterDevice('dev-null', 0o666, [1, 3]),
  file('name \udcff', 'no UTF-8'),
];

async function listed(tree: Tree): Promise<Map<string, Entry & { content?: Buffer }>> {
  const found = new Map<string, Entry & { content?: Buffer }>();
  for await (const entry of tree) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry.open?.() ?? []) chunks.push(Uint8Array.from(chunk));
    found.set(entry.path, { ...entry, ...(entry.open ? { content: Buffer.concat(chunks) } : {}) });
  }
  return found;
}

describe('a tree', () => {
  it.each(['ext4', 'xfs', 'btrfs', 'f2fs'])('goes into %s and comes out the same', async (type) => {
    const image = emptyDisk(await temporary(), type);
    const disk = await opened(image);
    const mounted = await disk.mount({ umask: 0o077 });
    await mounted.fromTree(ENTRIES);
    const found = await listed(mounted.toTree());
    for (const entry of ENTRIES) {
      const { path, mode, uid, gid, mtime, size, link, rdev, hardLink } = entry;
      const expected = { path, type: entry.type, mode, uid, gid, mtime, size };
      expect(found.get(path)).toMatchObject({
        ...expected,
        ...(link === undefined ? {} : { link }),
        ...(rdev === undefined ? {} : { rdev }),
        ...(hardLink === undefined ? {} : { hardLink }),
      });
    }
    expect(found.get('usr/lib/big')?.content?.equals(big)).toBe(true);
    expect(found.get('usr/bin/su')?.xattrs?.get('user.kind')).toEqual(Buffer.from([0, 255]));
    expect(found.get('etc/passwd')?.nanoseconds).toBe(TIME.nanoseconds);
    expect([...found.keys()].filter((path) => path !== 'lost+found')).toEqual(
      ['', 'bin', 'dev-null', 'etc', 'etc/passwd', 'name \udcff', 'usr', 'usr/bin', 'usr/bin/su', 'usr/lib', 'usr/lib/big', 'usr/lib/same'], // prettier-ignore
    );
    await disk.close();
    expect(checked(image, type)).toMatchObject({ status: 0 });
  });

  it('replaces what is there, in one step each, and leaves nothing of what failed', async () => {
    const mounted = await (await opened(emptyDisk(await temporary(), 'ext4'))).mount();
    await mounted.fromTree([file('a', 'old'), file('big', 'old')]);
    await mounted.fromTree([file('a', 'new')]);
    expect(await mounted.promises.readFile('/a', 'utf8')).toBe('new');
    const short = { ...file('big', 'x'), size: 2 << 20 };
    await expect(mounted.fromTree([short])).rejects.toThrow(/big: its content has not the 2097152 bytes/);
    expect(await mounted.promises.readFile('/big', 'utf8')).toBe('old');
    await expect(mounted.fromTree([file('../x', '')])).rejects.toThrow(RangeError);
    const stop = new AbortController();
    const stopping = [{ ...file('c', ''), size: 9 << 20, open: () => endless(stop) }];
    await expect(mounted.fromTree(stopping, { signal: stop.signal })).rejects.toThrow('enough');
    expect((await mounted.promises.readdir('/')).sort()).toEqual(['a', 'big', 'lost+found']);
  });

  async function* endless(stop: AbortController): AsyncGenerator<Buffer> {
    for (let i = 0; ; i++) {
      yield Buffer.alloc(1 << 20, 1);
      if (i === 2) stop.abort(new Error('enough'));
      await Promise.resolve();
    }
  }

  it('loses on FAT what FAT has not, if that is wanted', async () => {
    const mounted = await (await opened(emptyDisk(await temporary(), 'vfat'))).mount();
    const entries = ENTRIES.filter(({ path }) => !path.includes('\udcff')).map((entry) => ({ ...entry, mtime: 1e9 }));
    await expect(mounted.fromTree(entries)).rejects.toMatchObject({ code: 'EPERM' });
    const refused: string[] = [];
    await mounted.fromTree(entries, { onRefused: ({ path }) => refused.push(path) });
    expect(refused).toEqual(['bin', 'dev-null']);
    expect((await mounted.promises.readFile('/usr/lib/same')).equals(big)).toBe(true);
    expect((await mounted.promises.stat('/etc/passwd')).mtimeMs).toBe(1e12);
  });
});

describe('an archive', () => {
  it('is the same for the same files, and GNU tar reads it', async () => {
    const folder = await temporary();
    await mkdir(join(folder, 'files/sub'), { recursive: true });
    for (const name of ['b', 'a', 'sub/c']) await writeFile(join(folder, 'files', name), name);
    for (const name of ['files/b', 'files/sub']) await utimes(join(folder, name), 1, 1);
    const archives: Buffer[] = [];
    for (const type of ['ext4', 'xfs']) {
      const mounted = await (await opened(emptyDisk(folder, type))).mount();
      await mounted.fromTree(fromDirectory(join(folder, 'files'), { keepsAttributes: true }), { path: '/srv' });
      await mounted.promises.utimes('/srv', 5, 5);
      const path = join(folder, `${type}.tar`);
      await pipeline(mounted.tar('/srv'), createWriteStream(path));
      archives.push(readFileSync(path));
    }
    expect(archives[0]?.equals(archives[1] ?? Buffer.alloc(0))).toBe(true);
    const names = execFileSync('tar', ['-tf', join(folder, 'ext4.tar')], { encoding: 'utf8' });
    expect(names).toBe('./\na\nb\nsub/\nsub/c\n');
  });
});

describe('a fork', () => {
  it('changes nothing of the disk, and goes on later if it has a file', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'ext4');
    const digest = (): string => execFileSync('sha256sum', [image], { encoding: 'utf8' });
    const before = digest();
    const changes = join(folder, 'changes');
    for (const fork of [true, changes] as const) {
      const disk = await opened(image, { fork });
      await (await disk.mount()).promises.writeFile('/x', 'forked');
      await disk.close();
    }
    expect(digest()).toBe(before);
    const again = await opened(image, { fork: changes });
    expect(await (await again.mount()).promises.readFile('/x', 'utf8')).toBe('forked');
    const other = await opened(image, { fork: true });
    await expect((await other.mount()).promises.access('/x')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('a file', () => {
  it('has one writer; whoever only reads needs no lock', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'ext4');
    const disk = await opened(image);
    await expect(opened(image)).rejects.toMatchObject({ code: 'EBUSY' });
    await (await opened(image, { readOnly: true })).close();
    await disk.close();
    await (await opened(image)).close();
    expect(await readdir(folder)).toEqual(['ext4.img']);
  });
});

describe('a signal', () => {
  it('ends the kernel: what waits has EIO, and the reason', async () => {
    const stop = new AbortController();
    const disk = await opened(emptyDisk(await temporary(), 'ext4'), { signal: stop.signal });
    const { promises } = await disk.mount();
    const writing = (async () => {
      for (let i = 0; ; i++) await promises.writeFile(`/f${i}`, 'x', { flush: true });
    })();
    setTimeout(() => stop.abort(new Error('enough')), 50);
    await expect(writing).rejects.toMatchObject({ code: 'EIO', cause: { cause: { message: 'enough' } } });
    await expect(opened('nowhere', { signal: stop.signal })).rejects.toThrow();
  });

  it('stops a long read', async () => {
    const { promises } = await (await opened(emptyDisk(await temporary(), 'ext4'))).mount();
    await promises.writeFile('/big', Buffer.alloc(64 << 20, 1));
    const stop = new AbortController();
    const reading = promises.readFile('/big', { signal: stop.signal });
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(reading).rejects.toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: { message: 'enough' },
    });
  });
});

describe('the interface of lkl', () => {
  it('runs the published example with its import changed', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'ext4');
    const disk = await opened(image);
    await (await disk.mount()).fromTree([file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'.repeat(9000))]);
    await disk.close();
    renameSync(image, join(folder, 'data.ext4'));
    process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
    onTestFinished(() => {
      delete process.env['NODEOS_LINUXFS_KERNEL'];
    });
    const lkl = await import('@nodeos/linuxfs/lkl');
    const text = await new Promise<string>((resolve, reject) => {
      lkl.startKernelSync(10 * 1024 * 1024);
      const data = new lkl.disk.FileDisk(join(folder, 'data.ext4'));
      lkl.mount(data, { filesystem: 'ext4' }, (error, mountpoint) => {
        if (error) {
          reject(error);
          return;
        }
        let read = '';
        const readable = lkl.fs['createReadStream']?.(`${mountpoint}/etc/passwd`, 'utf8') as NodeJS.ReadableStream;
        readable.on('data', (chunk: string) => (read += chunk));
        readable.on('end', () => {
          lkl.umount(mountpoint ?? '', (failed) => {
            lkl.haltKernelSync();
            if (failed) reject(failed);
            else resolve(read);
          });
        });
      });
    });
    expect(text).toHaveLength(270_000);
  });

  it('has files and descriptors of several mounts, and paths with their mountpoints', async () => {
    const folder = await temporary();
    process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
    onTestFinished(() => {
      delete process.env['NODEOS_LINUXFS_KERNEL'];
    });
    const lkl = await import('@nodeos/linuxfs/lkl');
    const points: string[] = [];
    for (const type of ['ext4', 'vfat'])
      points.push(await lkl.mountAsync(new lkl.disk.FileDisk(emptyDisk(folder, type)), { filesystem: type }));
    const call = (name: string, ...args: unknown[]): Promise<unknown> =>
      new Promise((resolve, reject) => {
        lkl.fs[name]?.(...args, (error: Error | null, value: unknown) => (error ? reject(error) : resolve(value)));
      });
    const fds: unknown[] = [];
    for (const point of points) {
      fds.push(await call('open', `${point}/file`, 'w+'));
      await call('write', fds.at(-1), Buffer.from(point), 0, point.length, 0);
    }
    expect(new Set(fds).size).toBe(2);
    for (const fd of fds) await call('close', fd);
    for (const point of points) {
      expect(await call('readFile', `${point}/file`, 'utf8')).toBe(point);
      expect(await call('realpath', `${point}/./file`)).toBe(`${point}/file`);
      await call('rename', `${point}/file`, `${point}/other`);
      expect(await call('readdir', point)).toContain('other');
    }
    expect(() => lkl.fs['stat']?.('/nowhere', () => undefined)).toThrow(/nothing is mounted/);
    for (const point of points) await lkl.umountAsync(point);
    lkl.haltKernelSync();
  });

  it('mounts disks of other packages, with all of each request', async () => {
    const image = emptyDisk(await temporary(), 'ext4');
    process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
    onTestFinished(() => {
      delete process.env['NODEOS_LINUXFS_KERNEL'];
    });
    const lkl = await import('@nodeos/linuxfs/lkl');
    const handle = await openFile(image, 'r+');
    onTestFinished(() => handle.close());
    const foreign = {
      read: (into: Buffer, at: number, length: number, offset: number) => handle.read(into, at, length, offset),
      write: (bytes: Buffer, at: number, length: number, offset: number) => handle.write(bytes, at, length, offset),
      flush: () => handle.datasync(),
      getCapacity: async () => (await handle.stat()).size,
    };
    const number = await lkl.diskAddAsync(new lkl.disk.DiskWrapper(foreign));
    const point = await lkl.mountAsync(number, { filesystem: 'ext4', partition: 0 });
    await new Promise<void>((resolve, reject) => {
      lkl.fs['writeFile']?.(`${point}/big`, big, (error: Error | null) => (error ? reject(error) : resolve()));
    });
    await lkl.umountAsync(point);
    const again = await lkl.mountAsync(number);
    const read = await new Promise<Buffer>((resolve, reject) => {
      lkl.fs['readFile']?.(`${again}/big`, (error: Error | null, bytes: Buffer) =>
        error ? reject(error) : resolve(bytes),
      );
    });
    expect(read.equals(big)).toBe(true);
    await lkl.umountAsync(again);
    await lkl.diskRemoveAsync(number);
    expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
  });
});
