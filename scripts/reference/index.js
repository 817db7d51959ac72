/**
 * Writes docs/reference/cli.md from the tables of the command line.
 *
 *     node scripts/reference [--check]     --check only says whether it is stale, with exit status 1
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { allCommands } from 'nodeos';
import { format, resolveConfig } from 'prettier';

const FILE = fileURLToPath(new URL('../../docs/reference/cli.md', import.meta.url));

const BEFORE = `# Commands and options

Made by \`node scripts/reference\` from the same tables that parse command lines and print \`--help\`.
[The command line as a whole](../cli.md) says what holds for all of them.
`;

/** Text in a cell of a table. */
const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function nameOf([name, { short, value }]) {
  const names = short === undefined ? `--${name}` : `-${short}, --${name}`;
  return `\`${value === undefined ? names : `${names} ${value}`}\``;
}

/** @param level how deep the heading is */
function sectionOf({ name, summary, operands, options, examples }, level) {
  const rows = Object.entries(options).map((entry) => {
    const again = entry[1].multiple && !entry[1].help.includes('again for more') ? '; again for more' : '';
    return `| ${nameOf(entry).replaceAll('|', '\\|')} | ${cell(entry[1].help)}${again} |`;
  });
  return [
    `${'#'.repeat(level)} nodeos ${name}`,
    '',
    summary,
    '',
    '```text',
    ['nodeos', name, '[OPTIONS]', operands].filter(Boolean).join(' '),
    '```',
    '',
    ...(rows.length > 0 ? ['| option | meaning |', '| --- | --- |', ...rows, ''] : []),
    '```sh',
    ...examples.flatMap(([line, meaning]) => [`# ${meaning}`, line]),
    '```',
    '',
  ];
}

const sectionsOf = (command) =>
  'actions' in command
    ? [`## nodeos ${command.name}`, '', command.summary, '', ...command.actions.flatMap((one) => sectionOf(one, 3))]
    : sectionOf(command, 2);

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const text = [BEFORE, ...(await allCommands()).flatMap(sectionsOf)].join('\n');
const settings = await resolveConfig(join(FILE, '..'));
const wanted = await format(text, { ...settings, parser: 'markdown' });
if (!values.check) await writeFile(FILE, wanted);
else if ((await readFile(FILE, 'utf8').catch(() => '')) !== wanted) {
  console.error('docs/reference/cli.md is stale: node scripts/reference');
  process.exitCode = 1;
}
