/** The kernel's memory. A long file that is written from front to back leaves it while it is written, and is whole. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open } from '@nodeos/linuxfs';
import { beforeAll, describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

const MIB = 1 << 20;
const LENGTH = 160 * MIB;

/** Mebibytes of memory that the kernel's process has touched. */
const memoryOf = (pid: number | undefined): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

/** No two pieces are the same. */
const piece = (index: number, length: number): Buffer => Buffer.alloc(length, `piece ${index} `);

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat'])('%s', (type) => {
  it.each([
    ['pieces of 1 MiB from the start', 'w', 0, MIB],
    ['odd pieces from an odd place', 'w', 12_345, 700_001],
    ['pieces that are appended', 'a', 0, 3 * MIB + 1],
  ])('%s', async (_name, flags, start, length) => {
    const image = emptyDisk(await temporary(), type);
    const disk = await open(image, { kernel });
    const { promises } = await disk.mount();
    const sum = createHash('sha256').update(Buffer.alloc(start));
    const handle = await promises.open('/long', flags);
    let at = start;
    for (let index = 0; at < LENGTH; index++) {
      const bytes = piece(index, length);
      expect((await handle.write(bytes, 0, length, at)).bytesWritten).toBe(length);
      sum.update(bytes);
      at += length;
    }
    await handle.sync();
    expect(memoryOf(disk.pid)).toBeLessThan(80); // 105 if all of its memory is touched
    await handle.close();

    const found = createHash('sha256');
    for await (const bytes of (await promises.open('/long')).createReadStream()) found.update(bytes as Buffer);
    expect(found.digest('hex')).toBe(sum.digest('hex'));
    await disk.close();
    expect(checked(image, type)).toMatchObject({ status: 0 });
  });
});

it('has as much memory as is asked for, also above 2 GiB', async () => {
  const disk = await open(emptyDisk(await temporary(), 'ext4'), { kernel, memory: 3 * 2 ** 30 });
  expect(readFileSync(`/proc/${disk.pid}/cmdline`, 'utf8').split('\0')).toContain('mem=3072M');
  const { promises } = await disk.mount();
  await promises.writeFile('/file', 'content');
  await disk.close();
});
