/** 105,000 damaged images: test/linuxfs/hostile.test.ts has some of each kind. */
import { expect, it } from 'vitest';
import { attack, KINDS } from '../linuxfs/hostile.js';
import { builtKernel } from '../linuxfs/disks.js';
import { temporary } from '../support.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1_000_000);

it.each(Object.entries(KINDS))('a damaged %s gives errors, or ends the kernel', async (name, { images }) => {
  const say = (found: object): boolean => process.stderr.write(`${JSON.stringify({ name, ...found })}\n`);
  const found = await attack(await builtKernel(), await temporary(), name, images, SEED, say);
  say(found);
  expect(found.problems).toEqual([]);
});
