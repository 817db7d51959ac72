/** nodeos nbd map: which parts of a disk are data, and which are holes; as `nbdinfo --map` shows them. */
import { messageOf, NodeosError } from '@nodeos/base';
import { extentsOf, joined, pieces, type BlockBackend, type Extent } from '@nodeos/block';
import type { Command } from '../command.js';
import { JSON_OPTION, operandsOf } from './options.js';
import { openSource } from './sources.js';
import { unlessKilled, unlessStopped } from './stop.js';

/** How much is asked for at once. */
const SPAN = 1 << 30;

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
    const source = await unlessStopped(openSource(text, { connections: 1, signal: io.signal }), io);
    try {
      const runs = await unlessStopped(statesOf(source, text, io.signal), io);
      const rows = args.flag('totals') ? totals(runs, source.size) : runs;
      io.stdout.write(args.flag('json') ? json(rows) : table(rows));
    } finally {
      await unlessKilled(Promise.resolve(source.close()), io);
    }
    return 0;
  },
};

interface State {
  /** As NBD's base:allocation has it: 1 for a hole, 2 for zeros. */
  readonly type: number;
  readonly description: string;
}

interface Run extends State {
  readonly offset: number;
  readonly length: number;
}

interface Total extends State {
  readonly size: number;
  readonly percent: number;
}

const NAMES = ['data', 'hole', 'zero', 'hole,zero'];

const stateOf = ({ hole, zero }: Extent): State => {
  const type = (hole ? 1 : 0) + (zero ? 2 : 0);
  return { type, description: NAMES[type] ?? '' };
};

async function statesOf(source: BlockBackend, text: string, signal: AbortSignal): Promise<Run[]> {
  const extents: Extent[] = [];
  for (const [at, length] of pieces(0, source.size, SPAN)) {
    for (const extent of await ask(source, at, length, text)) extents.push(extent);
    signal.throwIfAborted();
  }
  return joined(extents).map((extent) => ({ offset: extent.offset, length: extent.length, ...stateOf(extent) }));
}

async function ask(source: BlockBackend, at: number, length: number, text: string): Promise<readonly Extent[]> {
  try {
    return await extentsOf(source, at, length);
  } catch (error) {
    throw new NodeosError(`cannot map ${text}: ${messageOf(error)}`, { cause: error });
  }
}

function totals(runs: readonly Run[], size: number): Total[] {
  const sums = NAMES.map((description, type) => {
    const sum = runs.filter((run) => run.type === type).reduce((sum, { length }) => sum + length, 0);
    return { size: sum, percent: size === 0 ? 0 : (sum / size) * 100, type, description };
  });
  return sums.filter((sum) => sum.size > 0);
}

const json = (rows: readonly (Run | Total)[]): string =>
  `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`;

const table = (rows: readonly (Run | Total)[]): string => rows.map((row) => `${line(row)}\n`).join('');

const line = (row: Run | Total): string =>
  'offset' in row
    ? `${column(row.offset)}  ${column(row.length)}  ${String(row.type).padStart(3)}  ${row.description}`
    : `${column(row.size)} ${row.percent.toFixed(1).padStart(5)}% ${String(row.type).padStart(3)} ${row.description}`;

const column = (bytes: number): string => String(bytes).padStart(10);
