/** 500 crashes: test/linuxfs/crashes.test.ts has some of each kind. */
import { expect, it } from 'vitest';
import { crash, VICTIMS } from '../linuxfs/crashes.js';
import { builtKernel } from '../linuxfs/disks.js';
import { temporary } from '../support.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1);

it.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat'].flatMap((type) => VICTIMS.map((victim) => [type, victim] as const)))(
  '%s keeps what was durable when it ends 26 times by the %s',
  async (type, victim) => {
    const { crashes, problems } = await crash(await builtKernel(), await temporary(), type, victim, 26, SEED);
    expect(problems).toEqual([]);
    expect(crashes).toBe(26);
  },
);
