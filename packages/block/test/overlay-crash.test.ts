/** Overlays survive a kill at any moment, and a loss of power between any two writes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { copyOnWrite, formatDelta, memory, overlay, overlayLayout, readOnly } from '../index.js';
import { random } from '../random.js';
import { noise, readAll, scratch } from './helpers.js';
import { SECTOR, SECTORS, writeOf } from './overlay-writes.js';

const path = scratch();
const WRITER = fileURLToPath(new URL('overlay-writer.js', import.meta.url));

/**
 * Kills the writer after a number of flushes. @returns the last write reported as flushed; undefined if there was none
 */
async function killed(to: string, start: number, blockSize: number, flushes: number): Promise<number | undefined> {
  const writer = spawn(process.execPath, [WRITER, to, String(start), String(blockSize)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(writer, 'exit');
  let said = 0;
  let flushed: number | undefined;
  for await (const line of createInterface(writer.stdout)) {
    if (line !== 'ready') flushed = Number(line);
    if (said++ === flushes) writer.kill('SIGKILL'); // reports before its death count as well
  }
  expect(await exit).toEqual([null, 'SIGKILL']);
  return flushed;
}

describe('an overlay whose process is killed', () => {
  it.each([4096, 16384])('has everything that was flushed, in blocks of %i bytes', async (blockSize) => {
    const to = path('delta');
    let before = new Uint32Array(SECTORS);
    for (let round = 1; round <= 16; round++) {
      const start = round * 1_000_000;
      const flushed = (await killed(to, start, blockSize, round % 5)) ?? start - 1;
      const device = await overlay(readOnly(memory(SECTORS * SECTOR)), to, { identity: 'zeros' });
      const words = new Uint32Array((await readAll(device)).buffer);
      await device.close();

      const last = before.slice();
      for (let n = start; n <= flushed; n++) {
        const { first, count } = writeOf(n);
        last.fill(n, first, first + count);
      }
      const now = new Uint32Array(SECTORS);
      for (let sector = 0; sector < SECTORS; sector++) {
        const content = words.subarray((sector * SECTOR) / 4, ((sector + 1) * SECTOR) / 4);
        const value = content[0] ?? NaN;
        now[sector] = value;
        expect(content.every((word) => word === value)).toBe(true);
        if (value === last[sector]) continue;
        const { first, count } = writeOf(value);
        expect(value).toBeGreaterThan(flushed);
        expect(first <= sector && sector < first + count).toBe(true);
      }
      before = now;
    }
  });
});

const PAGE = 4096;

interface Unreliable extends BlockBackend {
  /** A possible state of the disk after a loss of power: each page as of the last flush, or any later version. */
  crashed(chance: () => number): Uint8Array;
}

/** A disk with a volatile cache. @param step called between any two steps */
function unreliable(size: number, step: () => void): Unreliable {
  const durable = new Uint8Array(size);
  const current = new Uint8Array(size);
  const later = new Map<number, Uint8Array[]>();
  const pageOf = (bytes: Uint8Array, page: number): Uint8Array => bytes.subarray(page * PAGE, (page + 1) * PAGE);

  function change(offset: number, length: number, work: () => void): void {
    work();
    for (let page = Math.floor(offset / PAGE); page * PAGE < offset + length; page++) {
      const states = later.get(page) ?? [];
      states.push(pageOf(current, page).slice());
      later.set(page, states);
    }
    step();
  }

  return {
    size,
    read: (into, offset) => into.set(current.subarray(offset, offset + into.length)),
    write: async (bytes, offset) => {
      await nextTurn();
      change(offset, bytes.length, () => current.set(bytes, offset));
      await nextTurn();
    },
    zero: (offset, length) => change(offset, length, () => current.fill(0, offset, offset + length)),
    flush: async () => {
      const begun = new Map([...later].map(([page, states]) => [page, states.length]));
      step();
      for (let turns = 0; turns < 3; turns++) await nextTurn();
      for (const [page, count] of begun) {
        const [done, left] = [later.get(page)?.slice(0, count).at(-1), later.get(page)?.slice(count) ?? []];
        if (done) pageOf(durable, page).set(done);
        if (left.length > 0) later.set(page, left);
        else later.delete(page);
        step(); // a flush stores its pages one by one
      }
    },
    crashed: (chance) => {
      const image = durable.slice();
      for (const [page, states] of later) {
        const state = states[Math.floor(chance() * (states.length + 1)) - 1];
        if (state) pageOf(image, page).set(state);
      }
      return image;
    },
    close: () => undefined,
  };
}

const operation = fc.record({
  kind: fc.constantFrom('write', 'write', 'write', 'zero', 'flush', 'flush and go on'),
  first: fc.nat(15 * 8),
  count: fc.integer({ min: 1, max: 30 }),
  seed: fc.nat(),
});

describe('an overlay whose machine loses power', () => {
  it('has everything that was flushed, and every other page either old or new', { timeout: 120_000 }, async () => {
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(4096, 16384),
        fc.array(operation, { minLength: 5, maxLength: 30 }),
        fc.nat(),
        async (blockSize, operations, seed) => {
          const content = noise(16 * PAGE, 1);
          const base = readOnly(memory(content.length));
          const store = memory(content.length);
          void store.write?.(content, 0);
          const layout = overlayLayout(base.size, blockSize);
          const chance = random(seed);
          /** The versions of each page since the last flush. */
          const states = Array.from({ length: 16 }, (_, page) => [content.slice(page * PAGE, (page + 1) * PAGE)]);
          const images: { image: Uint8Array; legal: Uint8Array[][] }[] = [];
          let isReady = false;
          const delta = unreliable(layout.size, () => {
            if (isReady) images.push({ image: delta.crashed(chance), legal: states.map((of) => of.slice()) });
          });
          await formatDelta(delta, layout);
          isReady = true;
          const device = await copyOnWrite(readOnly(store), delta);
          const current = content.slice();
          const flushes: Promise<void>[] = [];

          const flush = async (): Promise<void> => {
            const first = states.map((of) => of.at(-1));
            await device.flush?.();
            for (const [page, of] of states.entries()) {
              const index = of.findIndex((state) => state === first[page]);
              of.splice(0, Math.max(0, index));
            }
          };
          for (const { kind, first, count, seed: content } of operations) {
            const [offset, length] = [first * 512, Math.min(count * 512, current.length - first * 512)];
            if (kind === 'flush') await flush();
            else if (kind === 'flush and go on') flushes.push(flush());
            else {
              const bytes = kind === 'zero' ? new Uint8Array(length) : noise(length, content);
              current.set(bytes, offset);
              for (let page = Math.floor(offset / PAGE); page * PAGE < offset + length; page++)
                states[page]?.push(current.slice(page * PAGE, (page + 1) * PAGE));
              await (kind === 'zero' ? device.zero?.(offset, length) : device.write?.(bytes, offset));
            }
          }
          await Promise.all(flushes);

          crashes += images.length;
          for (const { image, legal } of images) {
            const disk = memory(image.length);
            void disk.write?.(image, 0);
            const bytes = await readAll(await copyOnWrite(readOnly(store), disk));
            for (const [page, of] of legal.entries()) {
              const is = bytes.subarray(page * PAGE, (page + 1) * PAGE);
              expect(of.some((state) => Buffer.compare(state, is) === 0)).toBe(true);
            }
          }
        },
      ),
      { numRuns: 40 },
    );
    expect(crashes).toBeGreaterThan(1000);
  });
});
