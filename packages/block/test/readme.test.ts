/** The examples of the README run as they are. */
import { expect, it } from 'vitest';
import { scratch } from './helpers.js';
import { begun, blocksOf } from './readme.js';

const path = scratch();
const examples = blocksOf(new URL('../README.md', import.meta.url), 'js');

const OUTPUTS = [/^world\n$/, /hole: true.*100 %\n$/s, /^\d{1,2} requests\n$/];

it('every example has its test', () => expect(examples).toHaveLength(OUTPUTS.length));

it.each(OUTPUTS.map((output, index) => [index, output] as const))('example %i works', async (index, output) => {
  expect(await begun(examples[index] ?? '', path('example')).ended).toMatch(output);
});
