/** Runs the examples of the README unchanged. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratch } from './helpers.js';
import { startExample, blocksOf } from './readme.js';

const path = scratch();
const examples = blocksOf(new URL('../README.md', import.meta.url), 'js');

const OUTPUTS = [
  /^world\n$/,
  /hole: true.*100 %\n$/s,
  /^\d{1,2} requests\n$/,
  /number: 1,\n.*type: '0fc63daf-8483-4772-8e79-3d69d8477de4'.*\nhello\n$/s,
];

it('has an expected output for every example', () => expect(examples).toHaveLength(OUTPUTS.length));

it.each(OUTPUTS.map((output, index) => [index, output] as const))('runs example %i', async (index, output) => {
  const folder = path('example');
  mkdirSync(folder);
  writeFileSync(join(folder, 'part.img'), 'hello'.padEnd(1024));
  expect(await startExample(examples[index] ?? '', folder).ended).toMatch(output);
});
