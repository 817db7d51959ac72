/** What is done to a filesystem while it is mounted: remounting, resizing, trimming; and calls that are given up. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { around, file, type BlockBackend } from '@nodeos/block';
import { beforeAll, describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk, opened } from './disks.js';

beforeAll(async () => {
  await builtKernel();
}, LONG);

const MIB = 1 << 20;

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat'])('%s', (type) => {
  it('becomes read-only and writable again', async () => {
    const image = emptyDisk(await temporary(), type);
    const disk = await opened(image);
    const mounted = await disk.mount({ readOnly: true });
    const { promises } = mounted;
    await expect(promises.writeFile('/x', '')).rejects.toMatchObject({ code: 'EROFS' });
    await mounted.remount({ readOnly: false });
    expect(mounted.isReadOnly).toBe(false);
    await promises.writeFile('/x', 'content');

    const writing = await promises.open('/y', 'w');
    await expect(mounted.remount({ readOnly: true })).rejects.toMatchObject({ code: 'EBUSY', syscall: 'remount' });
    expect(mounted.isReadOnly).toBe(false);
    await writing.close();
    await mounted.remount({ readOnly: true });
    expect(mounted.isReadOnly).toBe(true);
    await expect(promises.writeFile('/x', '')).rejects.toMatchObject({ code: 'EROFS' });
    expect(await promises.readFile('/x', 'utf8')).toBe('content');
    expect(checked(image, type).status).toBe(0); // nothing is left to be written
    await disk.close();
    expect(checked(image, type).status).toBe(0);
  });
});

describe('a remount', () => {
  it('changes options, refuses those that the driver does not know, and keeps devices closed', async () => {
    const mounted = await (await opened(emptyDisk(await temporary(), 'ext4'))).mount();
    await mounted.volume.mknod('/null', constants.S_IFCHR | 0o666, [1, 3]);
    await expect(mounted.remount({ readOnly: false, options: 'nonsense' })).rejects.toMatchObject({ code: 'EINVAL' });
    await mounted.remount({ readOnly: false, options: 'commit=1' });
    await expect(mounted.promises.open('/null')).rejects.toMatchObject({ code: 'EACCES' });
  });

  it('makes nothing writable that is only read', async () => {
    const folder = await temporary();
    const disk = await opened(emptyDisk(folder, 'ext4'), { readOnly: true });
    const mounted = await disk.mount();
    await expect(mounted.remount({ readOnly: false })).rejects.toMatchObject({ code: 'EACCES' });
    const image = join(folder, 'squashfs.img');
    execFileSync('mksquashfs', [new URL('.', import.meta.url).pathname, image, '-quiet'], { stdio: 'pipe' });
    const squashfs = await (await opened(image)).mount();
    await expect(squashfs.remount({ readOnly: false })).rejects.toMatchObject({ code: 'EROFS' });
  });
});

describe.each(['ext4', 'ext3', 'ext2', 'xfs', 'btrfs'])('%s', (type) => {
  it('grows while it is mounted, and keeps what it has', async () => {
    const image = emptyDisk(await temporary(), type);
    await truncate(image, 700 * MIB);
    const disk = await opened(image);
    const mounted = await disk.mount();
    const content = randomBytes(3 * MIB);
    await mounted.promises.writeFile('/x', content);
    const size = async (): Promise<number> => {
      const { blocks, bsize } = await mounted.promises.statfs('/');
      return (blocks * bsize) / MIB;
    };
    expect(await size()).toBeLessThan(400);
    await mounted.resize(512 * MIB);
    expect(await size()).toBeGreaterThan(400);
    expect(await size()).toBeLessThanOrEqual(512);
    await mounted.resize();
    expect(await size()).toBeGreaterThan(600);
    await mounted.promises.writeFile('/y', Buffer.concat([content, content]));
    await expect(mounted.resize(900 * MIB)).rejects.toMatchObject({ syscall: 'resize' });
    await disk.close();
    expect(checked(image, type)).toMatchObject({ status: 0 });
    const again = await (await opened(image)).mount();
    expect((await again.promises.readFile('/x')).equals(content)).toBe(true);
    expect((await again.promises.stat('/y')).size).toBe(6 * MIB);
  });
});

describe('resizing', () => {
  it('makes btrfs smaller, and says of others that it cannot', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'btrfs');
    const disk = await opened(image);
    const btrfs = await disk.mount();
    await btrfs.promises.writeFile('/x', 'content');
    await btrfs.resize(320 * MIB);
    await disk.close();
    await truncate(image, 320 * MIB);
    expect(checked(image, 'btrfs')).toMatchObject({ status: 0 });
    const ext4 = await (await opened(emptyDisk(folder, 'ext4'))).mount();
    await expect(ext4.resize(200 * MIB)).rejects.toMatchObject({ code: 'EINVAL', syscall: 'resize' });
    const vfat = await (await opened(emptyDisk(folder, 'vfat'))).mount();
    await expect(vfat.resize()).rejects.toMatchObject({ code: 'ENOTSUP', syscall: 'resize' });
  });
});

// f2fs tells it by itself, as soon as something is removed.
describe.each(['ext4', 'xfs', 'btrfs', 'vfat'])('%s', (type) => {
  it('tells the device what is unused', async () => {
    let trimmed = 0;
    const device = around(await file(emptyDisk(await temporary(), type)), (operation, _offset, length, work) => {
      if (operation === 'trim') trimmed += length;
      return work();
    });
    const mounted = await (await opened(device)).mount();
    await mounted.promises.writeFile('/x', randomBytes(32 * MIB), { flush: true });
    await mounted.promises.unlink('/x');
    await mounted.sync();
    trimmed = 0;
    const said = await mounted.trim();
    expect(said).toBeGreaterThan(200 * MIB);
    expect(trimmed).toBeGreaterThan(200 * MIB);
  });
});

describe('copying within an image', () => {
  it('shares the blocks where the filesystem can, and otherwise says so if a clone is wanted', async () => {
    const folder = await temporary();
    const content = randomBytes(8 * MIB);
    for (const type of ['xfs', 'btrfs', 'ext4']) {
      let written = 0;
      const device = around(await file(emptyDisk(folder, type)), (operation, _offset, length, work) => {
        if (operation === 'write') written += length;
        return work();
      });
      const { promises } = await (await opened(device)).mount();
      await promises.writeFile('/from', content, { flush: true });
      written = 0;
      const clone = promises.copyFile('/from', '/clone', constants.COPYFILE_FICLONE_FORCE);
      if (type === 'ext4') {
        await expect(clone).rejects.toMatchObject({ code: 'ENOTSUP' });
        await promises.copyFile('/from', '/clone', constants.COPYFILE_FICLONE);
      } else {
        await clone;
      }
      const handle = await promises.open('/clone', 'r+');
      await handle.sync();
      if (type !== 'ext4') expect(written).toBeLessThan(4 * MIB);
      await handle.write('changed', 0);
      await handle.close();
      expect((await promises.readFile('/from')).equals(content)).toBe(true);
      expect((await promises.readFile('/clone')).subarray(7).equals(content.subarray(7))).toBe(true);
    }
  });
});

/** A disk whose reads of data can be held up. */
async function heldUp(type: string): Promise<{ device: BlockBackend; hold: () => void; release: () => void }> {
  let held: Promise<void> | undefined;
  let go: () => void = () => undefined;
  const device = around(await file(emptyDisk(await temporary(), type)), async (operation, _offset, length, work) => {
    if (operation === 'read' && length > 4096) await held;
    return work();
  });
  const hold = (): void => {
    held = new Promise((resolve) => (go = resolve));
  };
  const release = (): void => {
    held = undefined;
    go();
  };
  return { device, hold, release };
}

describe.each(['ext4', 'xfs', 'btrfs'])('a call on %s that is given up', (type) => {
  it('ends while the disk does not answer, and its worker goes on with others', { timeout: 60_000 }, async () => {
    const { device, hold, release } = await heldUp(type);
    const disk = await opened(device);
    let mounted = await disk.mount();
    const contents = Array.from({ length: 40 }, () => randomBytes(300_000));
    for (const [index, content] of contents.entries()) await mounted.promises.writeFile(`/${index}`, content);
    await mounted.unmount();
    mounted = await disk.mount();
    const { promises } = mounted;
    for (const index of contents.keys()) await promises.stat(`/${index}`);

    hold();
    const aborting = new AbortController();
    const { signal } = aborting;
    const results = Promise.allSettled(contents.map((_, index) => promises.readFile(`/${index}`, { signal })));
    let isAnswered = false;
    void results.then(() => (isAnswered = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isAnswered).toBe(false);
    aborting.abort(new Error('enough'));
    const said = await results; // more of them than there are workers
    expect(said.map((one) => (one.status === 'rejected' ? (one.reason as Error).name : 'done'))).toEqual(
      contents.map(() => 'AbortError'),
    );
    expect((await promises.stat('/1')).size).toBe(300_000);
    await promises.mkdir('/folder');

    release();
    const again = await Promise.all(contents.map((_, index) => promises.readFile(`/${index}`)));
    expect(again.every((content, index) => content.equals(contents[index] ?? Buffer.alloc(0)))).toBe(true);
    await disk.close();
  });
});
