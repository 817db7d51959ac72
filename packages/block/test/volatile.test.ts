/** A device whose power is cut: what was flushed is there, and every sector is in a state that it had since. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memory, volatile, type BlockBackend, type Volatile } from '../index.js';
import { errorOf, noise, readAll } from './helpers.js';

const SECTOR = 512;
const SECTORS = 64;
const SIZE = SECTORS * SECTOR;

function drive(seed: number): { inner: BlockBackend; device: Volatile } {
  const inner = memory(SIZE, { pageSize: 4096 });
  void inner.write?.(noise(SIZE, 1), 0);
  return { inner, device: volatile(inner, seed) };
}

const step = fc.record({
  kind: fc.constantFrom('write', 'write', 'write', 'zero', 'trim', 'flush'),
  offset: fc.oneof(
    fc.nat(SIZE - 1),
    fc.nat(SECTORS - 1).map((n) => n * SECTOR),
  ),
  length: fc.oneof(fc.nat(5000), fc.constantFrom(SECTOR, 4096)),
  seed: fc.nat(),
});

/** After a number of writes of two sectors each, which are lost: `-`, kept: `+`, or torn: `/`. */
async function fates(seed: number): Promise<string> {
  const { inner, device } = drive(seed);
  for (let n = 0; n < SECTORS / 2; n++) await device.write?.(new Uint8Array(2 * SECTOR), 2 * n * SECTOR);
  await device.cut();
  const bytes = await readAll(inner);
  const isKept = (sector: number): boolean =>
    bytes.subarray(sector * SECTOR, (sector + 1) * SECTOR).every((b) => b === 0);
  return Array.from({ length: SECTORS / 2 }, (_, n) =>
    isKept(2 * n) === isKept(2 * n + 1) ? (isKept(2 * n) ? '+' : '-') : '/',
  ).join('');
}

describe('a device whose power is cut', () => {
  it('has what was flushed, and each sector in one of its states since then', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.nat(), async (steps, seed) => {
        const { inner, device } = drive(seed);
        const sectorsOf = async (): Promise<string[]> => {
          const bytes = Buffer.from(await readAll(device));
          return Array.from({ length: SECTORS }, (_, n) => bytes.toString('base64', n * SECTOR, (n + 1) * SECTOR));
        };
        let states = (await sectorsOf()).map((state) => new Set([state]));
        for (const { kind, offset, length: wanted, seed: content } of steps) {
          const length = Math.min(wanted, SIZE - offset);
          if (kind === 'write') await device.write?.(noise(length, content), offset);
          else if (kind === 'flush') await device.flush?.();
          else await device[kind]?.(offset, length);
          const now = await sectorsOf();
          states = states.map((of, n) => new Set([...(kind === 'flush' ? [] : of), now[n] ?? '']));
        }
        await device.cut();
        const after = Buffer.from(await readAll(inner));
        for (const [n, of] of states.entries())
          expect(of.has(after.toString('base64', n * SECTOR, (n + 1) * SECTOR))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('loses changes, keeps some behind them, and tears some; the same for the same seed', async () => {
    const all = await Promise.all(Array.from({ length: 40 }, (_, seed) => fates(seed)));
    expect(await fates(7)).toBe(all[7]);
    expect(all).toContain('-'.repeat(SECTORS / 2));
    expect(all).toContain('+'.repeat(SECTORS / 2));
    expect(all.filter((of) => of.includes('-+') && of.includes('/')).length).toBeGreaterThan(5);
  });

  it('answers nothing any more', async () => {
    const { device } = drive(1);
    const late = [device.write?.(noise(10, 1), 0), device.flush?.(), device.zero?.(0, 10)].map((request) =>
      errorOf(() => request),
    );
    await device.cut();
    for (const error of await Promise.all(late)) expect(error).toMatchObject({ code: 'EIO' });
    expect(await errorOf(() => device.read(new Uint8Array(1), 0))).toMatchObject({ code: 'EIO' });
  });
});
