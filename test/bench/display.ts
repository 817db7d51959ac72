/** What the display of progress costs: the same build in a terminal and without one, taking turns. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './measure.js';
import { note, round, type Row } from './machines.js';

const BUILD = fileURLToPath(new URL('../display-build.js', import.meta.url));
/** Twenty seconds of a line each 10 ms; that of musl's last link has 36,867 characters. */
const LINES = '1500';
const LENGTHS = ['100', '42000'];

interface Cost {
  /** Seconds of this process's own. */
  readonly processor: number;
  readonly wall: number;
}

async function costOf(kind: 'terminal' | 'plain', length: string): Promise<Cost> {
  const dir = await mkdtemp(join(tmpdir(), 'nodeos-display-'));
  try {
    const command = `stty cols 80 rows 24 2>/dev/null; exec node ${BUILD} ${kind} ${LINES} ${length} ${dir}/cache 3>${dir}/cost`;
    const [program, args] = kind === 'terminal' ? ['script', ['-qfec', command, '/dev/null']] : ['sh', ['-c', command]];
    const child = spawn(program, args, { stdio: 'ignore' });
    await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
    return JSON.parse(await readFile(join(dir, 'cost'), 'utf8')) as Cost;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export async function display(runs: number): Promise<Row> {
  const row: Record<string, number> = {};
  for (const length of LENGTHS) {
    const [terminal, plain]: Cost[][] = [[], []];
    for (let run = 0; run < runs; run++) {
      note(`display of lines of ${length}, round ${run + 1} of ${runs}`);
      terminal?.push(await costOf('terminal', length));
      plain?.push(await costOf('plain', length));
    }
    const medianOf = (costs: Cost[] | undefined, field: keyof Cost): number =>
      median((costs ?? []).map((cost) => cost[field]));
    const extra = medianOf(terminal, 'processor') - medianOf(plain, 'processor');
    row[`display, lines of ${length}: share of a core, %`] = round((100 * extra) / medianOf(terminal, 'wall'));
    row[`display, lines of ${length}: time in a terminal / without`] = round(
      medianOf(terminal, 'wall') / medianOf(plain, 'wall'),
    );
  }
  return row;
}
