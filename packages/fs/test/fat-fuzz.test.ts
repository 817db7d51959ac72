/**
 * Reads FAT volumes in which bytes were changed. A long run:
 *
 *     FUZZ_INPUTS=1000000 FUZZ_SEED=2 npx vitest run --project unit packages/fs/test/fat-fuzz.test.ts
 */
import { directory, file } from '@nodeos/tree';
import { expect, it } from 'vitest';
import { random } from '../../block/random.js';
import { readFat } from '../index.js';
import { bytesOf, deviceOf } from './fat-tools.js';

const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 3000);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const MIB = 1 << 20;
/** Milliseconds that one input may take, on a busy machine. */
const SLOWEST = 5000;

const TREE = [
  file('EFI/BOOT/BOOTX64.EFI', Buffer.alloc(9000, 'efi')),
  file('a long name – with ünïcode 😀.conf', 'title NodeOS\n'),
  file('deeply/in/some/folders/file', 'deep'),
  file('SHORT.TXT', 'short'),
  file('empty', ''),
  directory('folder'),
  ...Array.from({ length: 9 }, (_, index) => file(`many/another file ${index}`, `${index}`)),
];

/** Small volumes. Whether it is FAT32 is up to a field of its boot sector, so that one is cut off. */
async function volumes(): Promise<{ bytes: Buffer; hot: readonly [number, number][] }[]> {
  const fat12 = await bytesOf(TREE, { size: MIB, clusterSize: 512 });
  const fat16 = await bytesOf(TREE, { size: 3 * MIB, bits: 16, clusterSize: 512 });
  const fat32 = (await bytesOf(TREE, { size: 34 * MIB, bits: 32 })).subarray(0, 2 * MIB);
  fat32.writeUInt32LE(fat32.length / 512, 32);
  return [fat12, fat16, fat32].map((bytes) => {
    const fatAt = bytes.readUInt16LE(14) * 512;
    const fatLength = (bytes.readUInt16LE(22) || bytes.readUInt32LE(36)) * 512;
    const rootAt = fatAt + 2 * fatLength;
    return { bytes, hot: [[0, 90], [fatAt, 600], [rootAt, 1024], [rootAt, 12_288]] as const }; // prettier-ignore
  });
}

const VALUES = [0, 1, 2, 5, 0x0f, 0x10, 0x2e, 0x2f, 0x41, 0x5c, 0x7f, 0x80, 0xe5, 0xf7, 0xf8, 0xff];

it('reads or refuses any bytes', { timeout: 24 * 3_600_000 }, async () => {
  const all = await volumes();
  const next = random(SEED);
  const below = (count: number): number => Math.floor(next() * count);
  let [refused, slowest] = [0, 0];
  for (let input = 0; input < INPUTS; input++) {
    const { bytes, hot } = all[below(all.length)] as (typeof all)[number];
    const changes = Array.from({ length: 1 + below(6) }, () => {
      const [from, length] = hot[below(hot.length)] as [number, number];
      return { at: from + below(length), value: next() < 0.5 ? below(256) : (VALUES[below(VALUES.length)] ?? 0) };
    });
    const before = changes.map(({ at }) => bytes[at] ?? 0);
    for (const { at, value } of changes) bytes[at] = value;
    const device = deviceOf(next() < 0.02 ? bytes.subarray(0, below(bytes.length)) : bytes);
    const start = performance.now();
    const error = await problemOf(device);
    slowest = Math.max(slowest, performance.now() - start);
    if (error !== undefined) refused++;
    if (error !== undefined && (error as { code?: unknown }).code !== 'EINVAL')
      throw new Error(`input ${input} of the seed ${SEED}: ${JSON.stringify(changes)}`, { cause: error });
    for (const [index, { at }] of [...changes.entries()].reverse()) bytes[at] = before[index] ?? 0;
  }
  expect(slowest).toBeLessThan(SLOWEST);
  expect(refused).toBeGreaterThan(INPUTS / 20);
  expect(refused).toBeLessThan(INPUTS);
  if (INPUTS > 100_000) console.log(`${INPUTS} inputs, ${refused} refused, the slowest took ${slowest} ms`);
});

/** Reads everything. @returns the error that this gave */
async function problemOf(device: ReturnType<typeof deviceOf>): Promise<unknown> {
  let content = 0;
  const folders = new Set(['']);
  try {
    for await (const entry of (await readFat(device)).entries()) {
      const parts = entry.path.split('/');
      if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\\0:]/.test(part)))
        return new Error(`an unsafe path: ${JSON.stringify(entry.path)}`);
      if (!folders.has(parts.slice(0, -1).join('/'))) return new Error(`${entry.path} before its folder`);
      if (entry.type === 'directory') folders.add(entry.path);
      for await (const bytes of entry.open?.() ?? []) {
        content += bytes.length;
        if (bytes.length > MIB || content > device.size) return new Error(`${entry.path}: too much content`);
      }
    }
  } catch (error) {
    return error;
  }
  return undefined;
}
