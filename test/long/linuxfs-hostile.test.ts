/** More than 100,000 damaged images: test/linuxfs/hostile.test.ts has some of each kind. */
import { expect, it } from 'vitest';
import { attack, KINDS } from '../linuxfs/hostile.js';
import { builtKernel } from '../linuxfs/disks.js';
import { temporary } from '../support.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1_000_000);
const IMAGES = Number(process.env['NODEOS_IMAGES'] ?? 7000);

it.each(Object.keys(KINDS))(`${IMAGES} times, a damaged %s gives errors, or ends the kernel`, async (name) => {
  const found = await attack(await builtKernel(), await temporary(), name, IMAGES, SEED);
  console.log(JSON.stringify({ name, ...found }));
  expect(found.problems).toEqual([]);
});
