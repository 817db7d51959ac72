/**
 * Checks which package imports which (.dependency-cruiser.js); exit status 1 if there is anything against the rules.
 *
 *     node scripts/imports [--draw]     --draw also makes docs/images/imports.svg from what it finds
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cruise } from 'dependency-cruiser';
import extractConfig from 'dependency-cruiser/config-utl/extract-depcruise-options';
import { draw } from './draw.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = ['packages/*/*.ts', 'packages/*/!(dist|test|node_modules)/**/*.ts', 'kernel/*.ts', 'initramfs/*.ts'];

/** `packages/nbd/wire/uri.ts` is of nbd. */
const packageOf = (path) => /^(?:packages\/([a-z]+)|(kernel|initramfs))\//.exec(path)?.slice(1).find(Boolean);

/** @returns for each package those that it imports */
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
if (values.draw) await writeFile('docs/images/imports.svg', draw(importsOf(output.modules)));
