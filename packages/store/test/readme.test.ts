/** The example of the README runs as it is. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startExample, blocksOf } from '../../block/test/readme.js';
import { temporary } from './helpers.js';

it('the example pushes a disk, and reads it from the store', async () => {
  const folder = await temporary();
  writeFileSync(join(folder, 'disk.img'), Buffer.alloc(2 << 20).fill('the first sector', 0, 16));
  const [example = '', ...others] = blocksOf(new URL('../README.md', import.meta.url), 'js');
  expect(others).toEqual([]);
  expect(await startExample(example, folder).ended).toBe('1 of 1 chunks are new\nthe first sector\n');
  expect(readdirSync(join(folder, 'store/recipes'))).toEqual(['debian-12']);
});
