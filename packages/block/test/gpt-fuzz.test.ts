/**
 * Partition tables with wrong values but right checksums. A million of them:
 *
 *     FUZZ_INPUTS=1000000 FUZZ_SEED=2 npx vitest run --project unit packages/block/test/gpt-fuzz.test.ts
 */
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { partition, random } from '../index.js';
import { device, gptOf } from './formats.js';
import { noise } from './helpers.js';

const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 3000);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const SECTOR = 512;
/** The list of entries in bytes. */
const LIST = 128 * 128;
/** Values that are near limits, and others. */
const VALUES = [0n, 1n, 2n, 34n, 0x7fn, 0x80n, 0xffn, 0x1000n, 0x7fffffffn, 0xffffffffn, 1n << 53n, (1n << 64n) - 1n];

/** Changes fields of both headers and lists, and makes the checksums right but for one time in eight. */
function spoil(disk: Buffer, next: (below: number) => number): void {
  const last = disk.length - SECTOR;
  for (const [header, list] of [
    [SECTOR, 2 * SECTOR],
    [last, last - LIST],
  ] as const) {
    for (let count = next(4); count > 0; count--) {
      const value = next(2) === 0 ? (VALUES[next(VALUES.length)] ?? 0n) : BigInt(next(2 ** 32));
      const [place, fields] = next(2) === 0 ? [header, 11] : [list + 128 * next(3), 16];
      disk.writeBigUInt64LE(value, place + 8 * next(fields));
    }
    if (next(8) === 0) continue;
    disk.writeUInt32LE(crc32(disk.subarray(list, list + LIST)), header + 88);
    disk.writeUInt32LE(0, header + 16);
    const size = Math.min(Math.max(disk.readUInt32LE(header + 12), 20), SECTOR);
    disk.writeUInt32LE(crc32(disk.subarray(header, header + size)), header + 16);
  }
}

it(
  'a partition of a GPT with any values is opened, or refused with EINVAL or ENOENT',
  { timeout: 24 * 3_600_000 },
  async () => {
    const good = gptOf(noise(8192, 1), SECTOR);
    const generator = random(SEED);
    const next = (below: number): number => Math.floor(generator() * below);
    const seen = { opened: 0, ENOENT: 0, EINVAL: 0 };
    for (let input = 0; input < INPUTS; input++) {
      const disk = Buffer.from(good);
      spoil(disk, next);
      const inner = device(disk);
      try {
        const one = await partition(inner, 1 + next(3));
        await one.read(new Uint8Array(Math.min(one.size, SECTOR)), Math.max(0, one.size - SECTOR));
        seen.opened++;
      } catch (error) {
        const { code } = error as { code?: unknown };
        if (code !== 'EINVAL' && code !== 'ENOENT') throw error;
        seen[code]++;
      }
    }
    if (INPUTS > 100_000) console.log(seen);
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(INPUTS / 20);
  },
);
