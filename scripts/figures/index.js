/**
 * Writes figures into the documentation, so that they are the same everywhere. docs/figures.json has them, as
 * `npm run bench -- --json` measured them. A place in a page is `<!--= NAME -->…<!--/-->`.
 *
 *     node scripts/figures [--check] [FILE]
 *
 * FILE has the line of JSON of a benchmark, which replaces the figures that it has. --check only says which places are
 * stale, with exit status 1.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { FIGURES } from './figures.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TABLE = join(ROOT, 'docs/figures.json');
const PLACE = /<!--= ([\w-]+) -->[^<]*<!--\/-->/g;
/** A section of docs/benchmarks.md whose tables have the rows of the benchmark as they are, and one of the rows. */
const SECTION = /^## .*`npm run bench -- (?:boots|sizes)[^\n]*\n.*?(?=^## )/gms;
const ROW = /^\| ([^|]+?) +\| ([^|]+?) +\|/gm;

/** Pages that people read first, and all below docs/, without what is generated or the history. */
async function pages() {
  const names = await readdir(join(ROOT, 'docs'), { recursive: true });
  const below = names.filter((name) => name.endsWith('.md') && !/reference\/(api\/|packages\/|[A-Z])/.test(name));
  return ['README.md', ...below.map((name) => join('docs', name))].sort();
}

/** The text of a figure: its value and unit. */
function textOf(name, measured) {
  const figure = FIGURES[name];
  if (!figure) throw new Error(`there is no figure ${name}; scripts/figures/figures.js has them`);
  const value = measured[figure.measured];
  if (value === undefined) throw new Error(`docs/figures.json has no "${figure.measured}"`);
  return figure.text(value);
}

const inPlaces = (text, measured) =>
  text.replace(PLACE, (_, name) => `<!--= ${name} -->${textOf(name, measured)}<!--/-->`);

/** The value of a row of a table takes the place of the old one. */
const inRows = (section, measured) =>
  section.replace(ROW, (row, name) => (measured[name] === undefined ? row : `| ${name} | ${measured[name]} |`));

const inBenchmarks = (text, measured) => text.replace(SECTION, (section) => inRows(section, measured));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { check: { type: 'boolean', default: false } },
});
const measured = JSON.parse(await readFile(TABLE, 'utf8'));
for (const file of positionals) {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line.startsWith('{'));
  const wanted = new Set(Object.values(FIGURES).map((figure) => figure.measured));
  const found = Object.entries(JSON.parse(lines.at(-1) ?? '{}')).filter(([name]) => wanted.has(name));
  Object.assign(measured, Object.fromEntries(found));
}
if (positionals.length > 0) await writeFile(TABLE, `${JSON.stringify(measured, null, 2)}\n`);
const settings = await resolveConfig(TABLE);
for (const page of await pages()) {
  const text = await readFile(join(ROOT, page), 'utf8');
  const filled = inPlaces(text, measured);
  const changed = page === 'docs/benchmarks.md' ? inBenchmarks(filled, measured) : filled;
  // A table's columns are as wide as what is in them.
  const written = await format(changed, { ...settings, parser: 'markdown' });
  if (written === text) continue;
  if (!values.check) await writeFile(join(ROOT, page), written);
  else {
    console.error(`${page} has other figures than docs/figures.json: node scripts/figures`);
    process.exitCode = 1;
  }
}
