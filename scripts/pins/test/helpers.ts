import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InterruptedError } from '@nodeos/base';
import { onTestFinished } from 'vitest';
import { main } from '../main.js';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

export function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), 'nodeos-pins-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A repository with these files, and the files that define its workspaces and its formatting. */
export function repository(files: Readonly<Record<string, string>>): string {
  const root = temporary();
  const all = { 'package.json': JSON.stringify({ workspaces: ['packages/*', 'kernel'] }), ...files };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const folder of ['packages', 'test', 'scripts/pins']) mkdirSync(join(root, folder), { recursive: true });
  cpSync(join(ROOT, '.prettierrc.json'), join(root, '.prettierrc.json'));
  return root;
}

export const textOf = (root: string, file: string): string => readFileSync(join(root, file), 'utf8');

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line on a repository. */
export const pins = (root: string, ...args: string[]): Promise<Outcome> => run(root, args);

/** Interrupts the command line, like Ctrl-C does, once `words` are on stderr. */
export const interrupted = (root: string, args: string[], words: string): Promise<Outcome> => run(root, args, words);

async function run(root: string, args: string[], end?: string): Promise<Outcome> {
  const stop = new AbortController();
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const status = await main(args, {
    root,
    signal: stop.signal,
    stdout: (text) => void stdout.push(text),
    stderr: (text) => {
      stderr.push(text);
      if (end !== undefined && text.includes(end)) stop.abort(new InterruptedError('SIGINT'));
    },
  });
  return { status, stdout: stdout.join(''), stderr: stderr.join('') };
}
