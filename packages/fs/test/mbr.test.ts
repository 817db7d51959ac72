/** Partition tables in the first sector, judged by sfdisk and by our own reader. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { memory, partitions } from '@nodeos/block';
import { afterAll, describe, expect, it } from 'vitest';
import { mbr, mbrPartitionId, MBR_TYPES } from '../index.js';

const run = promisify(execFile);
const MIB = 1 << 20;
const dir = await mkdtemp(join(tmpdir(), 'nodeos-mbr-'));
afterAll(() => rm(dir, { recursive: true }));
const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;

const LIST = [
  { type: MBR_TYPES.fat32, offset: 4 * MIB, length: 8 * MIB, isActive: true },
  { type: MBR_TYPES.linux, offset: 12 * MIB, length: MIB },
];

describe('an MBR', () => {
  it('is what sfdisk and the reader understand', async () => {
    const bytes = mbr({ id: 0xab12, partitions: LIST });
    const image = join(dir, 'disk.img');
    await writeFile(image, bytes);
    await truncate(image, 16 * MIB);
    const { stdout } = await run('sfdisk', ['--json', image], { env: { ...process.env, PATH } });
    const { partitiontable } = JSON.parse(stdout) as { partitiontable: Record<string, unknown> };
    expect(partitiontable).toMatchObject({
      label: 'dos',
      id: '0x0000ab12',
      partitions: [
        { start: 8192, size: 16384, type: 'c', bootable: true },
        { start: 24576, size: 2048, type: '83' },
      ],
    });
    const disk = memory(16 * MIB);
    await disk.write?.(bytes, 0);
    expect(await partitions(disk)).toEqual([
      { number: 1, offset: 4 * MIB, length: 8 * MIB, type: '0x0c' },
      { number: 2, offset: 12 * MIB, length: MIB, type: '0x83' },
    ]);
  });

  it("has the ids that Linux gives to its partitions, as the kernel's documentation has them", () => {
    expect(mbrPartitionId(0xab12, 2)).toBe('0000ab12-02');
  });

  it.each([
    ['overlapping partitions', [LIST[0], { ...LIST[0] }]],
    ['a partition in the first sector', [{ type: 1, offset: 0, length: 512 }]],
    ['a length that is not whole sectors', [{ type: 1, offset: 512, length: 100 }]],
    ['an empty partition', [{ type: 1, offset: 512, length: 0 }]],
    ['a place beyond 2 TiB', [{ type: 1, offset: 2 ** 41, length: 512 }]],
    ['five partitions', [1, 2, 3, 4, 5].map((n) => ({ type: 1, offset: n * 512, length: 512 }))],
  ])('refuses %s', (_, list) => {
    expect(() => mbr({ partitions: list as typeof LIST })).toThrow(RangeError);
  });

  it('refuses too much code', () => {
    expect(() => mbr({ partitions: [], code: new Uint8Array(441) })).toThrow('441 bytes of code: 440 fit');
  });
});
