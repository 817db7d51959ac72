/** Disks that fail, are full, slow or shrink: the errors that Linux gives. */
import { randomBytes } from 'node:crypto';
import { around, delay, file, type BlockBackend } from '@nodeos/block';
import { beforeAll, describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, emptyDisk, opened } from './disks.js';

beforeAll(async () => {
  await builtKernel();
}, LONG);

const fails = (code: string): Error => Object.assign(new Error(`the disk says ${code}`), { code });

/** A disk that fails once it is told to: reads and writes that `affects` says, with a code. */
async function failing(
  type: string,
): Promise<{ device: BlockBackend; fail: (code: string, affects: Affects) => void }> {
  let affected: Affects = () => false;
  let code = 'EIO';
  const device = around(await file(emptyDisk(await temporary(), type)), (operation, _offset, length, work) => {
    if (affected(operation, length)) throw fails(code);
    return work();
  });
  return { device, fail: (other, affects) => ([code, affected] = [other, affects]) };
}
type Affects = (operation: string, length: number) => boolean;

/** A write of data that was waited for; a journal's are shorter. */
const LARGE_WRITES: Affects = (operation, length) => operation === 'write' && length >= 512 << 10;
const BIG = 4 << 20;

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs'])('%s', (type) => {
  it('says ENOSPC when the filesystem is full, keeps what it has, and goes on once there is room', async () => {
    const mounted = await (await opened(await file(emptyDisk(await temporary(), type)))).mount();
    const { promises } = mounted;
    await promises.writeFile('/first', 'content', { flush: true });
    const filling = (async () => {
      for (let i = 0; ; i++) await promises.writeFile(`/f${i}`, randomBytes(BIG * 4));
    })();
    await expect(filling).rejects.toMatchObject({ code: 'ENOSPC', syscall: expect.any(String) as string });
    expect(await promises.readFile('/first', 'utf8')).toBe('content');
    for (let i = 0; i < 4; i++) await promises.unlink(`/f${i}`);
    await mounted.sync();
    await promises.writeFile('/last', randomBytes(BIG), { flush: true });
    expect((await promises.stat('/last')).size).toBe(BIG);
  });
});

describe('ext4 on a disk that fails', () => {
  it.each(['EIO', 'ENOSPC'])('tells whoever asks for durability of a write’s %s, once, and reads on', async (code) => {
    const { device, fail } = await failing('ext4');
    const { promises } = await (await opened(device)).mount();
    await promises.writeFile('/sound', 'content', { flush: true });
    const handle = await promises.open('/large', 'w');
    await handle.write(randomBytes(BIG));
    fail(code, LARGE_WRITES);
    await expect(handle.sync()).rejects.toMatchObject({ code, syscall: 'fsync' });
    fail(code, () => false);
    await handle.sync(); // as fsync(2): an error is reported once
    await handle.close();
    expect(await promises.readFile('/sound', 'utf8')).toBe('content');
    await promises.writeFile('/after', 'content', { flush: true });
  });

  it('says EIO for what cannot be read', async () => {
    const { device, fail } = await failing('ext4');
    const disk = await opened(device);
    const first = await disk.mount();
    await first.promises.writeFile('/large', randomBytes(BIG));
    await first.unmount(); // its cache is gone
    const { promises } = await disk.mount();
    const handle = await promises.open('/large', 'r');
    fail('EIO', (operation) => operation === 'read');
    await expect(handle.read(Buffer.alloc(100), 0, 100, 1 << 20)).rejects.toMatchObject({
      code: 'EIO',
      syscall: 'read',
    });
    await expect(promises.readFile('/large')).rejects.toMatchObject({ code: 'EIO' });
    fail('EIO', () => false);
    expect((await promises.readFile('/large')).length).toBe(BIG);
  });

  it('becomes read-only when its journal cannot be written', async () => {
    const { device, fail } = await failing('ext4');
    const mounted = await (await opened(device)).mount();
    const { promises } = mounted;
    await promises.writeFile('/sound', 'content', { flush: true });
    fail('EIO', (operation) => operation === 'write' || operation === 'flush');
    await expect(promises.writeFile('/lost', 'x', { flush: true })).rejects.toMatchObject({
      code: expect.stringMatching(/^(EIO|EROFS)$/) as string,
    });
    await expect(mounted.sync()).rejects.toMatchObject({ syscall: 'syncfs' });
    await expect(promises.mkdir('/folder')).rejects.toMatchObject({ code: 'EROFS' });
    await expect(promises.readFile('/sound')).rejects.toMatchObject({ code: 'EIO' }); // ext4 has shut down
  });
});

it('serves what is in memory while a disk takes 30 ms for each request', async () => {
  const slow = await file(emptyDisk(await temporary(), 'ext4'));
  const mounted = await (await opened(delay(slow, 30))).mount();
  const { promises } = mounted;
  await promises.writeFile('/known', 'content', { flush: true });
  const began = performance.now();
  const synced = promises.writeFile('/other', randomBytes(BIG), { flush: true }).then(() => performance.now());
  let stats = 0;
  while ((await Promise.race([synced, promises.stat('/known')])) instanceof Object) stats++;
  expect((await synced) - began).toBeGreaterThan(60);
  expect(stats).toBeGreaterThan(10);
  await mounted.unmount();
});

it('says EIO for what lies beyond the end of a disk that has shrunk', async () => {
  const inner = await file(emptyDisk(await temporary(), 'ext4'));
  let size = inner.size;
  const device = around(inner, (_operation, offset, length, work) => {
    if (offset + length > size) throw new RangeError(`${length} bytes at ${offset} are beyond the end at ${size}`);
    return work();
  });
  const { promises } = await (await opened(device)).mount();
  await promises.writeFile('/first', 'content', { flush: true });
  size = 1 << 20;
  await expect(promises.writeFile('/second', randomBytes(BIG), { flush: true })).rejects.toMatchObject({
    code: expect.stringMatching(/^(EIO|EROFS)$/) as string,
  });
  expect(await promises.readFile('/first', 'utf8')).toBe('content');
});
