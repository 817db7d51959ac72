/** The examples of the README run as they are. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratch } from './helpers.js';

const path = scratch();
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code ?? '');
const PACKAGE = new URL('../dist/index.js', import.meta.url).href;

it.each([
  [0, /^world\n$/],
  [1, /hole: true.*100 %\n$/s],
  [2, /^\d{1,2} requests\n$/],
])('example %i of the README works', (index, output) => {
  const folder = path('example');
  mkdirSync(folder);
  writeFileSync(join(folder, 'example.mjs'), examples[index]?.replaceAll('@nodeos/block', PACKAGE) ?? '');
  expect(examples).toHaveLength(3);
  expect(execFileSync(process.execPath, ['example.mjs'], { cwd: folder }).toString()).toMatch(output);
});
