/** A root that is served over NBD against one that is unpacked into memory: from a changed file to the first answer. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { note, ROOT, round, type Row } from './machines.js';
import { firstByte, freePort, median } from './measure.js';

const KINDS: Readonly<Record<string, readonly string[]>> = {
  plain: [],
  'root over NBD': ['--root', 'nbd'],
  'root over NBD by TLS': ['--root', 'nbds'],
  'root over NBD, Node.js in it': ['--root', 'nbd', '--runtime', 'root'],
};
/** Seconds for an answer. */
const PATIENCE = 60;

export async function streamedRoot(runs: number): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-root-'));
  const app = join(folder, 'app');
  try {
    await cp(join(ROOT, 'examples/fastify'), app, { recursive: true });
    const times: Record<string, number[]> = Object.fromEntries(Object.keys(KINDS).map((name) => [name, []]));
    const kinds = Object.entries(KINDS);
    for (const [, options] of kinds) await measureStart(app, options); // whatever there is to build
    for (let run = 0; run < runs; run++) {
      note(`streamed root, round ${run + 1} of ${runs}`);
      for (let turn = 0; turn < kinds.length; turn++) {
        const [name, options] = kinds[(run + turn) % kinds.length] ?? ['', []];
        await appendFile(join(app, 'server.js'), `// ${run} ${turn}\n`);
        times[name]?.push((await measureStart(app, options)) ?? Number.NaN);
      }
    }
    const time = (name: string): number => median(times[name] ?? []);
    const rows: Record<string, string | number> = {};
    for (const name of Object.keys(KINDS)) {
      rows[`changed file to first HTTP byte, ${name}, s`] = round(time(name));
      if (name !== 'plain') rows[`${name} / plain`] = round(time(name) / time('plain'));
    }
    for (const [name, options] of kinds.slice(1)) {
      Object.assign(rows, await measureReads(app, name, options, join(folder, 'trace.jsonl')));
      rows[`smallest --memory, ${name}, MiB`] = await smallest(app, options);
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Starts the machine as a user does. @returns seconds from there to the first byte of an answer, if there was one */
async function measureStart(
  app: string,
  options: readonly string[],
  { seconds = PATIENCE, onAnswer }: { readonly seconds?: number; readonly onAnswer?: () => Promise<void> } = {},
): Promise<number | undefined> {
  const port = await freePort();
  const args = ['start', app, '--publish', `${port}:80`, '--boot-timeout', String(seconds), ...options];
  const started = performance.now();
  const child = spawn(process.execPath, [join(ROOT, 'bin/nodeos'), ...args], { stdio: 'ignore' });
  const closed = new AbortController();
  const ended = once(child, 'close').finally(() => closed.abort());
  const byte = await firstByte(port, AbortSignal.any([closed.signal, AbortSignal.timeout(seconds * 1000)]));
  await onAnswer?.();
  child.kill('SIGINT');
  await ended;
  return byte === undefined ? undefined : (byte - started) / 1000;
}

/** What was read from the root up to the first answer. */
async function measureReads(app: string, name: string, options: readonly string[], trace: string): Promise<Row> {
  let text = '';
  const onAnswer = async (): Promise<void> => void (text = await readFile(trace, 'utf8'));
  await measureStart(app, [...options, '--trace', trace], { onAnswer });
  const reads = text
    .split('\n')
    .slice(0, -1) // of the last line there may be only a part
    .map((line) => JSON.parse(line) as { op?: string; length?: number })
    .filter(({ op }) => op === 'read');
  const bytes = reads.reduce((sum, { length = 0 }) => sum + length, 0);
  return {
    [`read from the root, ${name}, MiB`]: round(bytes / (1 << 20)),
    [`in so many requests, ${name}`]: reads.length,
  };
}

/** In steps of 8 MiB. */
async function smallest(app: string, options: readonly string[]): Promise<number> {
  let [low, high] = [48, 256];
  while (high - low > 8) {
    const middle = ((low + high) >> 4) << 3;
    const works = (await measureStart(app, [...options, '--memory', `${middle}M`], { seconds: 20 })) !== undefined;
    note(`${middle} MiB: ${works ? 'answers' : 'does not answer'}`);
    if (works) high = middle;
    else low = middle;
  }
  return high;
}
