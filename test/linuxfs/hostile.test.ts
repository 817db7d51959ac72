/** Damaged images give errors, or end the kernel, and never more. test/long has 100,000 of them. */
import { expect, it } from 'vitest';
import { temporary } from '../support.js';
import { builtKernel } from './disks.js';
import { attack, KINDS } from './hostile.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1);

it.each(Object.keys(KINDS))('a damaged %s gives errors, or ends the kernel', { timeout: 300_000 }, async (name) => {
  const found = await attack(await builtKernel(), await temporary(), name, 60, SEED);
  expect(found.problems).toEqual([]);
  expect(found.images).toBe(60);
  expect(found.mounted).toBeGreaterThan(0);
});
