/** The example of the README runs as it is. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startExample, blocksOf } from '../../block/test/readme.js';

it('the example copies a disk, and says what is in it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-disk-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [example = '', ...others] = blocksOf(new URL('../README.md', import.meta.url), 'js');
  expect(others).toEqual([]);
  expect(await startExample(example, folder).ended).toMatch(/^data \d+\n/);
  expect(readFileSync(join(folder, 'copy.img'), 'utf8')).toBe('the first sector');
});
