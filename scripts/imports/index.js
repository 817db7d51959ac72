/**
 * Checks the imports between packages against the rules in .dependency-cruiser.js. Exit status 1 if one is violated, or if
 * their picture, docs/images/imports.svg, is of other imports.
 *
 *     node scripts/imports [--draw]     --draw draws the picture
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cruise } from 'dependency-cruiser';
import extractConfig from 'dependency-cruiser/config-utl/extract-depcruise-options';
import { draw } from './draw.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PICTURE = 'docs/images/imports.svg';
const SOURCES = ['packages/*/*.ts', 'packages/*/!(dist|test|node_modules)/**/*.ts', '{kernel,initramfs,bootfs}/*.ts'];

/** The package of a path: `nbd` for `packages/nbd/wire/uri.ts`. */
const packageOf = (path) => /^(?:packages\/([a-z-]+)|(kernel|initramfs|bootfs))\//.exec(path)?.slice(1).find(Boolean);

/** @returns the imported packages of each package */
function importsOf(modules) {
  const found = new Map();
  for (const { source, dependencies } of modules) {
    const from = packageOf(source);
    if (from === undefined || source.includes('/dist/')) continue;
    const targets = found.get(from) ?? new Set();
    found.set(from, targets);
    for (const { resolved } of dependencies) {
      const to = packageOf(resolved);
      if (to !== undefined && to !== from) targets.add(to);
    }
  }
  return found;
}

process.chdir(ROOT);
const { values } = parseArgs({ options: { draw: { type: 'boolean', default: false } } });
const options = await extractConfig(join(ROOT, '.dependency-cruiser.js'));
const { output } = await cruise(SOURCES, { ...options, validate: true });
for (const { rule, from, to, cycle } of output.summary.violations)
  console.log(`${rule.name}: ${[from, ...(cycle?.map(({ name }) => name) ?? [to])].join(' → ')}`);
if (output.summary.totalCruised === 0) throw new Error('no source was found');
process.exitCode = output.summary.violations.length > 0 ? 1 : 0;
const picture = draw(importsOf(output.modules));
if (values.draw) await writeFile(PICTURE, picture);
else if ((await readFile(PICTURE, 'utf8')) !== picture) {
  console.log(`${PICTURE} is stale: npm run imports -- --draw`);
  process.exitCode = 1;
}
