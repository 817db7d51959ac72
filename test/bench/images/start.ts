/** Starts machines from a store, and says what they read from it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TraceRecord } from '@nodeos/block';
import type { Recipe } from '@nodeos/store';
import type { Read, Trace } from '../scale/traces.js';
import { firstByte, freePort } from '../measure.js';
import { ROOT } from '../machines.js';

/** Seconds for an answer. */
const PATIENCE = 120;

/**
 * Starts a machine as a user does, and ends it when it has answered.
 * @param args for `nodeos start`
 * @param onAnswer done before the machine ends. @returns seconds from the command to the first byte of an answer
 */
export async function startOf(args: readonly string[], onAnswer?: () => Promise<void> | void): Promise<number> {
  const port = await freePort();
  const started = performance.now();
  const child = spawn(
    process.execPath,
    [join(ROOT, 'bin/nodeos'), 'start', ...args, '--runtime', 'root', '--publish', `${port}:80`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-2000)));
  // Not AbortSignal.any with a timeout, which Node.js 20 may collect before its time.
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), PATIENCE * 1000);
  const ended = once(child, 'close').finally(() => over.abort());
  const at = await firstByte(port, over.signal).finally(() => clearTimeout(timer));
  if (at !== undefined) await onAnswer?.();
  child.kill('SIGINT');
  await ended;
  if (at === undefined) throw new Error(`the machine did not answer in ${PATIENCE} s:\n${said}`);
  return (at - started) / 1000;
}

/** A request of a machine. */
export interface Request {
  /** Milliseconds since its server was opened. */
  readonly t: number;
  readonly offset: number;
  readonly length: number;
}

/** Starts an image, and records what the machine reads up to its answer. */
export async function traced(
  reference: string,
  recipe: Recipe,
  file: string,
): Promise<{ readonly requests: Request[]; readonly trace: Trace }> {
  let [text, answered] = ['', 0];
  await rm(file, { force: true });
  await startOf(['--root', `store:${reference}`, '--trace', file], async () => {
    const { birthtimeMs } = await stat(file);
    answered = Date.now() - birthtimeMs;
    text = await readFile(file, 'utf8');
  });
  const requests = text
    .split('\n')
    .slice(0, -1) // of the last line there may be only a part
    .map((line) => JSON.parse(line) as Partial<TraceRecord>)
    .filter(({ op }) => op === 'read')
    .map(({ t = 0, offset = 0, length = 0 }) => ({ t, offset, length }))
    .sort((a, b) => a.t - b.t);
  return { requests, trace: traceOf(reference, recipe, requests, answered) };
}

/** The chunks in the order in which they are needed first. */
function traceOf(reference: string, recipe: Recipe, requests: readonly Request[], answered: number): Trace {
  const records = new Map(recipe.records.map((record) => [record.index, record]));
  const reads: Read[] = [];
  let last = 0;
  for (const { t, offset, length } of requests)
    for (let index = Math.floor(offset / recipe.blockSize); index * recipe.blockSize < offset + length; index++) {
      const record = records.get(index);
      if (!record || !records.delete(index)) continue;
      reads.push({ id: record.id.slice(0, 16), bytes: record.storedLength, after: rounded(t - last) });
      last = t;
    }
  const stored = recipe.records.reduce((sum, { storedLength }) => sum + storedLength, 0);
  return { image: reference.slice(reference.lastIndexOf(':') + 1), stored, reads, rest: rounded(answered - last) };
}

const rounded = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;
