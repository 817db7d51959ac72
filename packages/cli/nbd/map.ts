/** nodeos nbd map: shows which parts of a disk are data and which are holes, like `nbdinfo --map`. */
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { openWithProgress } from '../opened.js';
import { operandsOf } from './options.js';
import { statesOf, totalsOf, type StateRun, type StateTotal } from '@nodeos/disk';
import { unlessKilled, unlessStopped } from './stop.js';

export const mapCommand: Command = {
  name: 'nbd map',
  summary: 'Shows which parts of a disk are data, and which are holes.',
  operands: 'SOURCE',
  options: { json: JSON_OPTION, totals: { type: 'boolean', help: 'only how much there is of each state' } },
  examples: [
    ['nodeos nbd map nbd://10.0.0.2/disk', 'as nbdinfo --map'],
    ['nodeos nbd map disk.img --totals', 'how much of a sparse file is data'],
  ],
  async run(args, io) {
    const [text = ''] = operandsOf('nbd map', args, 'SOURCE');
    const source = await unlessStopped(openWithProgress(text, { connections: 1 }, io), io);
    try {
      const runs = await unlessStopped(statesOf(source, text, io.signal), io);
      const rows = args.flag('totals') ? totalsOf(runs, source.size) : runs;
      io.stdout.write(args.flag('json') ? json(rows) : table(rows));
    } finally {
      await unlessKilled(Promise.resolve(source.close()), io);
    }
    return 0;
  },
};

const json = (rows: readonly (StateRun | StateTotal)[]): string =>
  `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`;

const table = (rows: readonly (StateRun | StateTotal)[]): string => rows.map((row) => `${line(row)}\n`).join('');

const line = (row: StateRun | StateTotal): string =>
  'offset' in row
    ? `${column(row.offset)}  ${column(row.length)}  ${String(row.type).padStart(3)}  ${row.description}`
    : `${column(row.size)} ${row.percent.toFixed(1).padStart(5)}% ${String(row.type).padStart(3)} ${row.description}`;

const column = (bytes: number): string => String(bytes).padStart(10);
