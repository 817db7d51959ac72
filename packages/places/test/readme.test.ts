/** The example of the README runs as it is. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startExample, blocksOf } from '../../block/test/readme.js';

it('the example keeps a file, reads it, and finds it in a list', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-places-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [example = '', ...others] = blocksOf(new URL('../README.md', import.meta.url), 'js');
  expect(others).toEqual([]);
  expect(await startExample(example, folder).ended).toBe('hello\nundefined\nnotes/today.txt 5\n');
  expect(readFileSync(join(folder, 'kept/notes/today.txt'), 'utf8')).toBe('hello');
});
