/** Partitions, judged by nbdkit, which makes and reads tables, and corrupt tables. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { partition, partitions } from '../index.js';
import { device, fileDevice, gptOf, mbrOf, expectRobust, tool } from './formats.js';
import { bounded, errorOf, noise, readAll, scratch } from './helpers.js';

const path = scratch();

/** A disk of these files as nbdkit lays them out. */
function disk(type: 'mbr' | 'gpt', ...contents: Uint8Array[]): string {
  const name = path(type);
  const files = contents.map((content) => {
    const file = path('part');
    writeFileSync(file, content);
    return file;
  });
  tool('nbdkit', '-U', '-', 'partitioning', ...files, `partition-type=${type}`, '--run', `nbdcopy "$uri" ${name}`);
  return name;
}

function judged(name: string, number: number): Buffer {
  const to = path('judged');
  execFileSync('nbdkit', ['-U', '-', '--filter=partition', 'file', name, `partition=${number}`, '--run', `nbdcopy "$uri" ${to}`]); // prettier-ignore
  return readFileSync(to);
}

describe.each([
  ['gpt', [1, 2, 3, 4, 5, 6]],
  // The fourth entry is extended; the partitions in it are numbered from 5.
  ['mbr', [1, 2, 3, 5, 6, 7]],
] as const)('partitions of a disk that nbdkit made: %s', (type, numbers) => {
  const contents = numbers.map((number) => noise(512 * (1 + number), number));

  it('equal those that nbdkit reads', async () => {
    const name = disk(type, ...contents);
    const all = await partitions(fileDevice(name));
    expect(all.map(({ number }) => number)).toEqual(numbers);
    expect(all[0]?.type).toBe(type === 'gpt' ? '0fc63daf-8483-4772-8e79-3d69d8477de4' : '0x83');
    for (const [index, number] of numbers.entries()) {
      const one = await partition(fileDevice(name), number);
      expect(Buffer.from(await readAll(one)).equals(judged(name, number))).toBe(true);
      expect(Buffer.from(await readAll(one)).subarray(0, contents[index]?.length).equals(contents[index] ?? Buffer.alloc(0))).toBe(true); // prettier-ignore
    }
  });

  it('are listed by the error for a number that does not exist', async () => {
    const error = await errorOf(() => partition(fileDevice(disk(type, ...contents)), 99));
    expect(error).toMatchObject({ code: 'ENOENT', message: expect.stringMatching(/^there is no partition 99: there are 1 \(1024 bytes.*\), 2 /) }); // prettier-ignore
  });

  it('are read or refused however the table is corrupted', async () => {
    const image = readFileSync(disk(type, ...contents));
    await expectRobust(image, (inner) => partition(inner, numbers[5]), { near: [440, 512, 1024, image.length - 512] });
  });
});

describe('partitions of a GPT', () => {
  const content = noise(8192, 1);

  it.each([512, 4096])(
    'are found with sectors of %i bytes, by either header, and on a device that only takes whole blocks',
    async (size) => {
      const whole = gptOf(content, size, 'Wurzel');
      expect(await partitions(device(whole))).toMatchObject([{ number: 1, length: 8192, name: 'Wurzel' }]);
      const damaged = Buffer.from(whole).fill(0xff, size, 2 * size);
      for (const image of [whole, damaged]) {
        expect(await readAll(await partition(bounded(device(image), 4096, 65536), 1))).toEqual(content);
        expect(await readAll(await partition(device(image), 1, { sectorSize: size }))).toEqual(content);
      }
      await expect(partitions(device(damaged.fill(0xff, damaged.length - size)))).rejects.toMatchObject({
        code: 'EINVAL',
      });
    },
  );

  it('come from the GPT even if an MBR repeats some of them', async () => {
    const hybrid = gptOf(content, 512);
    const both = [{ type: 0xee, first: 1, count: 33 }, { type: 0x83, first: 40, count: 4 }]; // prettier-ignore
    mbrOf(both).copy(hybrid);
    expect(await partitions(device(hybrid))).toMatchObject([{ number: 1, length: 8192 }]);
  });

  it('are refused if the checksum is wrong', async () => {
    const spoilt = gptOf(content, 512);
    for (const at of [1024 + 40, spoilt.length - 33 * 512 + 40]) spoilt[at] = 0xff; // the last sector, in both lists
    await expect(partitions(device(spoilt))).rejects.toThrow(/checksum of the list/);
  });
});

describe('partitions of an MBR', () => {
  it('are found with sectors of 4096 bytes if that is given', async () => {
    const image = Buffer.alloc(16384);
    mbrOf([{ type: 0x83, first: 2, count: 1 }]).copy(image);
    image.fill(7, 8192, 12288);
    expect(await readAll(await partition(device(image), 1, { sectorSize: 4096 }))).toEqual(
      new Uint8Array(4096).fill(7),
    );
  });

  it('are refused if they are beyond the disk, without affecting others', async () => {
    const image = Buffer.alloc(4096);
    mbrOf([{ type: 0x83, first: 1, count: 2 }, { type: 0x83, first: 3, count: 0xffffffff }]).copy(image); // prettier-ignore
    expect((await partition(device(image), 1)).size).toBe(1024);
    await expect(partition(device(image), 2)).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining('not within the disk') }); // prettier-ignore
  });

  it('are refused if the logical ones form a loop', async () => {
    const image = Buffer.alloc(64 * 512);
    mbrOf([{ type: 5, first: 2, count: 60 }]).copy(image);
    mbrOf([{ type: 0x83, first: 1, count: 1 }, { type: 5, first: 4, count: 1 }]).copy(image, 2 * 512); // prettier-ignore
    mbrOf([{ type: 0x83, first: 1, count: 1 }, { type: 5, first: 4, count: 1 }]).copy(image, 6 * 512); // prettier-ignore
    await expect(partitions(device(image))).rejects.toThrow(/a chain without an end/);
    mbrOf([{ type: 0x83, first: 1, count: 1 }, { type: 5, first: 4_000_000, count: 1 }]).copy(image, 6 * 512); // prettier-ignore
    await expect(partitions(device(image))).rejects.toThrow(/leaves the extended one/);
  });

  it.each([0, 100, 512, 4096])('are not found on a disk of %i zeros', async (size) => {
    await expect(partitions(device(new Uint8Array(size)))).rejects.toMatchObject({ code: 'EINVAL', message: 'the disk has no partition table' }); // prettier-ignore
  });
});
