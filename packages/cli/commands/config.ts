/** nodeos config: shows what a command would work with, and where each value comes from. */
import { resolve } from 'node:path';
import { UsageError, visible, visibleJson } from '@nodeos/base';
import type { Command, Option, Unlisted } from '../command.js';
import { JSON_OBJECT } from '../json-options.js';
import { KEY_NAMES, KEYS } from '../config/schema.js';
import { settle, type Row } from '../config/settle.js';
import { startCommand } from './start.js';

const LONGEST_VALUE = 500;

/** The options of `nodeos start` that are keys as well. */
const SHARED = Object.fromEntries(
  Object.entries(startCommand.options).filter(([option]) => KEY_NAMES.some((name) => KEYS[name].option === option)),
) as Record<string, Option>;

export const configCommand: Unlisted<Command> = {
  operands: '[APP]',
  options: {
    ...SHARED,
    'no-remote': startCommand.options['no-remote'] as Option,
    json: JSON_OBJECT,
  },
  examples: [
    ['nodeos config', 'what holds in this folder'],
    ['nodeos config examples/hello --json', 'the same for programs'],
    ['nodeos config . --memory 1G', 'what holds with an option'],
  ],
  async run(args, io) {
    const [folder, ...more] = args.operands;
    if (more.length > 0) throw new UsageError(`nodeos config takes one application, not also ${more.join(' ')}`);
    const { app, rows } = await settle(folder, args, io);
    const shown = rows.map((row) => (row.key === 'app' ? { ...row, value: app && resolve(app) } : row));
    io.stdout.write(args.flag('json') ? jsonOf(shown) : shown.map(lineOf).join(''));
    return 0;
  },
};

function lineOf({ key, value, from }: Row): string {
  const text = value === undefined ? '-' : visibleJson(value);
  return `${visible(key).padEnd(KEY_WIDTH)} ${visible(text, LONGEST_VALUE)}  (${from})\n`;
}

/** As wide as the longest key. */
const KEY_WIDTH = Math.max(...KEY_NAMES.map((name) => name.length));

const jsonOf = (rows: readonly Row[]): string =>
  `${visibleJson(Object.fromEntries(rows.map(({ key, value, from }) => [key, { value: value ?? null, from }])), 2)}\n`;
