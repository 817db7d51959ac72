/** Power cuts and killed processes: what was made durable is there, and the filesystem is sound. */
import { describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { crash, VICTIMS } from './crashes.js';
import { builtKernel } from './disks.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1);

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat'])(
  '%s',
  (type) => {
    it.each(VICTIMS)('keeps what was durable when it ends by the %s', { timeout: 300_000 }, async (victim) => {
      const { looked, problems } = await crash(await builtKernel(), await temporary(), type, victim, 3, SEED);
      expect(problems).toEqual([]);
      expect(looked).toBeGreaterThan(0);
    });
  },
  LONG,
);
