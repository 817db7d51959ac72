/** The power is cut while a disk's data grow, and while they are written. */
import { describe, expect, it } from 'vitest';
import {
  bootedUntil,
  cutGrowth,
  cutRecords,
  DISK,
  expectGrowth,
  freshDisk,
  useLargeDisk,
  verdictOnTables,
} from '../boot/cut-disk.js';
import { replayGrowth, replayRecords } from '../boot/cut-replay.js';
import { LONG } from '../support.js';

const POINTS = 40;
/** Of one recorded run. */
const REPLAYED = 300;
const SECTOR = 512;

describe('a power cut', { timeout: LONG }, () => {
  const { folder, image } = useLargeDisk();

  it(`at ${POINTS} points of the first boot leaves a disk that boots, grows, and is whole`, () =>
    cutGrowth({ image: image(), folder, points: POINTS, seed: 1 }));

  // Points that once left data which could not be mounted: a superblock without its descriptors, and half a superblock.
  it.each([
    { at: 32, seed: 2099329838 },
    { at: 22, seed: 2908616039 },
  ])('at %j leaves a disk that boots and grows', async (cut) => {
    const disk = await freshDisk(image());
    try {
      await bootedUntil(disk, '', cut);
      await expectGrowth(disk, folder);
    } finally {
      await disk.close();
    }
  });

  // Rare among the points above, so they are made here: the copy at the end is the new one, one at the start is old.
  it.each([
    ['header', 1],
    ['entries', 3],
  ])('between the sectors of the first table leaves a disk that boots and grows: old %s', async (_, sector) => {
    const [grown, disk] = [await freshDisk(image()), await freshDisk(image())];
    try {
      await bootedUntil(grown, '', { seed: 0 });
      const table = Buffer.alloc(34 * SECTOR);
      for (const at of [0, DISK - table.length]) {
        await grown.read(table, at);
        if (at === 0) await disk.read(table.subarray(sector * SECTOR, (sector + 1) * SECTOR), sector * SECTOR);
        await disk.write?.(table, at);
      }
      expect(await verdictOnTables(disk, folder)).not.toContain('No problems found');
      await expectGrowth(disk, folder);
    } finally {
      await grown.close();
      await disk.close();
    }
  });

  it(`at ${POINTS} points of writing leaves all that was synced`, () =>
    cutRecords({ image: image(), folder, points: POINTS, seed: 2 }));

  it(`at ${REPLAYED} points of one first boot leaves data that are whole, and grow`, () =>
    replayGrowth({ image: image(), folder, points: REPLAYED, seed: 5, bootEvery: 30 }));

  it(`at ${REPLAYED} points of one run that writes leaves all that was synced`, () =>
    replayRecords({ image: image(), folder, points: REPLAYED, seed: 6 }));
});
