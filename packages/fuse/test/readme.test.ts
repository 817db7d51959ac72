/** The example of the README runs as it is. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { startExample, blocksOf } from '../../block/test/readme.js';
import { missing, temporary } from './helpers.js';

it.skipIf(missing !== undefined)('the example reads a device from a file, and unmounts', async () => {
  const folder = await temporary();
  const [example = '', ...others] = blocksOf(new URL('../README.md', import.meta.url), 'js');
  expect(others).toEqual([]);
  expect(await startExample(example, folder).ended).toBe('the first sector\n');
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(folder);
});
