/** Partition tables, judged by sgdisk, sfdisk and our own reader. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { file, memory, partitions, regions, writeImage } from '@nodeos/block';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { gpt, GPT_END, GPT_START, GPT_TYPES, type GptOptions, type GptPartition } from '../gpt.js';
import { guidOf } from '../guid.js';
import { MBR_TYPES } from '../mbr.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-gpt-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const lacking = ['sgdisk', 'sfdisk'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
const MIB = 1 << 20;

const id = (number: number): string => guidOf(Buffer.alloc(16, number));
const DISK: GptOptions = {
  size: 64 * MIB,
  id: id(1),
  firstUsable: MIB,
  code: Buffer.from([0xeb, 0xfe]),
  partitions: [
    { type: GPT_TYPES.esp, id: id(2), name: 'esp', offset: MIB, length: 8 * MIB },
    { type: GPT_TYPES.linux, id: id(3), name: 'größe 🙂', offset: 9 * MIB, length: 16 * MIB + 512 },
  ],
};

async function write(options: GptOptions): Promise<string> {
  const path = join(root, `${options.size}.img`);
  const disk = regions(gpt(options), { size: options.size });
  await writeImage(disk, path).finally(() => disk.close());
  return path;
}

describe('a partition table', () => {
  it.skipIf(lacking.length > 0)('is right for sgdisk and sfdisk', async () => {
    const path = await write(DISK);
    expect(execFileSync('sgdisk', ['-v', path], { encoding: 'utf8' })).toContain('No problems found');
    const { partitiontable } = JSON.parse(execFileSync('sfdisk', ['--json', path], { encoding: 'utf8' })) as {
      partitiontable: { id: string; firstlba: number; partitions: Record<string, unknown>[] };
    };
    expect(partitiontable).toMatchObject({ label: 'gpt', id: DISK.id.toUpperCase(), firstlba: 2048 });
    expect(partitiontable.partitions).toMatchObject(
      DISK.partitions.map(({ type, id: uuid, name, offset, length }) => ({
        type: type.toUpperCase(),
        uuid: uuid.toUpperCase(),
        name,
        start: offset / 512,
        size: length / 512,
      })),
    );
  });

  it.skipIf(lacking.length > 0)('is right also on a disk of 3 TiB, where the MBR cannot say its size', async () => {
    const path = await write({ ...DISK, size: 3 * 2 ** 40 });
    expect(execFileSync('sgdisk', ['-v', path], { encoding: 'utf8' })).toContain('No problems found');
    rmSync(path);
  });

  it.skipIf(lacking.length > 0)('may have a hybrid MBR, for systems that know no GPT', async () => {
    const path = await write({ ...DISK, hybrid: [{ number: 2, type: MBR_TYPES.linux, isActive: true }] });
    expect(execFileSync('sgdisk', ['-v', path], { encoding: 'utf8' })).toContain('No problems found');
    expect(execFileSync('sgdisk', ['-p', path], { encoding: 'utf8' })).toContain('größe');
    // sfdisk says what is in the MBR, and that there is a GPT beside it.
    const dump = execFileSync('sfdisk', ['--json', '-Y', 'dos', path], { encoding: 'utf8', stdio: 'pipe' });
    const { partitiontable } = JSON.parse(dump) as { partitiontable: { partitions: Record<string, unknown>[] } };
    expect(partitiontable.partitions).toEqual([
      { node: `${path}1`, start: 1, size: 9 * 2048 - 1, type: 'ee' },
      { node: `${path}2`, start: 9 * 2048, size: 16 * 2048 + 1, type: '83', bootable: true },
    ]);
    const disk = await file(path, { readOnly: true });
    expect((await partitions(disk)).map(({ name }) => name)).toEqual(['esp', 'größe 🙂']);
    await disk.close();
  });

  // With :EE the protective entry is the last one.
  it.skipIf(lacking.length > 0).each(['2', '2:1', '1:2:EE'])(
    'beside a hybrid MBR that sgdisk has made of %s is read as sfdisk reads it',
    async (hybrid) => {
      const path = await write(DISK);
      execFileSync('sgdisk', [`--hybrid=${hybrid}`, path]);
      const mbr = execFileSync('sfdisk', ['--json', '-Y', 'dos', path], { encoding: 'utf8', stdio: 'pipe' });
      expect(mbr.match(/"type": *"(?!ee)/g)).toHaveLength(hybrid.match(/\d/g)?.length ?? 0);
      const dump = execFileSync('sfdisk', ['--json', path], { encoding: 'utf8', stdio: 'pipe' });
      const { partitiontable } = JSON.parse(dump) as {
        partitiontable: { partitions: { start: number; size: number; name: string; type: string }[] };
      };
      const disk = await file(path, { readOnly: true });
      expect(await partitions(disk)).toEqual(
        partitiontable.partitions.map(({ start, size, name, type }, index) => ({
          ...{ number: index + 1, offset: start * 512, length: size * 512, name, type: type.toLowerCase() },
        })),
      );
      await disk.close();
    },
  );

  it('is read by our own reader, also when its first copy is lost', async () => {
    const described = regions(gpt(DISK), { size: DISK.size });
    const disk = memory(DISK.size);
    const bytes = Buffer.alloc(DISK.size);
    await described.read(bytes, 0);
    await disk.write?.(bytes, 0);
    const expected = DISK.partitions.map(({ offset, length, name, type }, index) => {
      return { number: index + 1, offset, length, name, type };
    });
    expect(await partitions(disk)).toEqual(expected);
    await disk.write?.(Buffer.alloc(512), 512);
    expect(await partitions(disk)).toEqual(expected);
    expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0xeb, 0xfe]));
  });

  it('holds any partitions that fit', async () => {
    const sectors = fc.array(fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 1000 })), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(sectors, async (sizes) => {
        let end = GPT_START;
        const list = sizes.map(([gap, length], index): GptPartition => {
          const offset = end + gap * 512;
          end = offset + length * 512;
          return { type: GPT_TYPES.linux, id: id(index), name: `p${index}`, offset, length: length * 512 };
        });
        const size = end + GPT_END;
        const disk = regions(gpt({ size, id: id(99), partitions: list }), { size });
        const found = await partitions(disk);
        expect(found.map(({ offset, length, name }) => ({ offset, length, name }))).toEqual(
          list.map(({ offset, length, name }) => ({ offset, length, name })),
        );
      }),
    );
  });

  it.each<[string, Partial<GptOptions>, RegExp]>([
    ['overlap', { partitions: DISK.partitions.map((row) => ({ ...row, offset: MIB })) }, /does not fit between/],
    ['leave the disk', { size: 20 * MIB }, /"größe 🙂" .* does not fit/],
    ['are not aligned', { partitions: [{ ...(DISK.partitions[0] as GptPartition), offset: MIB + 1 }] }, /does not fit/],
    [
      'have a long name',
      { partitions: [{ ...(DISK.partitions[0] as GptPartition), name: 'x'.repeat(37) }] },
      /too long/,
    ],
    ['have no id', { partitions: [{ ...(DISK.partitions[0] as GptPartition), id: 'x' }] }, /"x" is no GUID/],
  ])('refuses partitions that %s', (_, change, message) => {
    expect(() => gpt({ ...DISK, ...change })).toThrow(message);
  });

  it.each<[string, GptOptions['hybrid'], RegExp]>([
    ['a partition that is not there', [{ number: 3, type: 0x83 }], /names the partition 3 of 2/],
    ['partitions out of order', [2, 1].map((number) => ({ number, type: 0x83 })), /does not fit behind/],
    ['too many', [1, 2, 1, 2].map((number) => ({ number, type: 0x83 })), /5 partitions: 4 fit/],
  ])('refuses a hybrid MBR of %s', (_, hybrid, message) => {
    expect(() => gpt({ ...DISK, hybrid: hybrid ?? [] })).toThrow(message);
  });

  it('refuses too much code and a disk of half a sector', () => {
    expect(() => gpt({ ...DISK, code: Buffer.alloc(441) })).toThrow('441 bytes of code: 440 fit');
    expect(() => gpt({ ...DISK, size: 64 * MIB + 256 })).toThrow('a multiple of 512');
  });
});
