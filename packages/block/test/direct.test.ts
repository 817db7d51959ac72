/** Writes past the page cache. fincore (util-linux) says what is in it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { pageAligned, writesDirectly } from '../direct.js';
import { file, memory, random, writeImage } from '../index.js';
import { noise, scratch } from './helpers.js';

const MIB = 1 << 20;
const path = scratch();
const hasFincore = spawnSync('fincore', ['--version']).error === undefined;

const cachedBytes = (name: string): number =>
  Number(execFileSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', name], { encoding: 'utf8' }));

it.skipIf(!hasFincore)(
  'an image is written past the cache, whole and with its holes, if that is asked for',
  async () => {
    const content = Buffer.alloc(9 * MIB + 5000, noise(MIB, 1));
    content.fill(0, 3 * MIB, 5 * MIB);
    const device = memory(content.length);
    await device.write?.(content, 0);
    for (const direct of [false, true]) {
      const to = path('image');
      await writeImage(device, to, { direct });
      // The end of the image is no whole block.
      const [least, most] = direct ? [0, 64 << 10] : [7 * MIB, 10 * MIB];
      expect(cachedBytes(to)).toBeGreaterThanOrEqual(least);
      expect(cachedBytes(to)).toBeLessThan(most);
      expect(readFileSync(to).equals(content)).toBe(true);
    }
  },
);

it.each(['', '/dev/shm'])('writes of any place, length and memory arrive, in %s', async (folder) => {
  const next = random(7);
  const below = (count: number): number => Math.floor(next() * count);
  if (folder !== '' && !existsSync(folder)) return;
  const name = folder === '' ? path('file') : join(temporary(folder), 'file');
  const expected = Buffer.alloc(MIB + 100);
  const aligned = pageAligned(MIB);
  const device = await writesDirectly(await file(name, { create: expected.length }), name);
  for (let write = 0; write < 300; write++) {
    const unit = [1, 512, 4096][below(3)] ?? 1;
    const offset = below(expected.length / unit) * unit;
    const length = Math.min(below(100_000 / unit) * unit, expected.length - offset);
    const memory = below(2) === 0 ? aligned.subarray(0, length) : Buffer.alloc(length);
    memory.fill(1 + below(255));
    await device.write?.(memory, offset);
    memory.copy(expected, offset);
  }
  await device.flush?.();
  await device.close();
  expect(readFileSync(name).equals(expected)).toBe(true);
});

function temporary(folder: string): string {
  const made = mkdtempSync(join(folder, 'nodeos-direct-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}
