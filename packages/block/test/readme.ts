/** The examples of a README, run as they are: each in a folder of its own, in which the packages are installed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

/** The blocks of a language, in their order. One behind `<!-- not run -->` is not for running. */
export function blocksOf(readme: URL, language: string): string[] {
  const text = readFileSync(readme, 'utf8');
  const blocks = [...text.matchAll(/(<!-- not run -->\s*)?^```(\w+)\n(.*?)^```/gms)];
  return blocks.flatMap(([, skipped, of, code = '']) => (skipped === undefined && of === language ? [code] : []));
}

export interface Example {
  readonly folder: string;
  /** What it has said on standard output when that matches. @throws Error with what it said, if it ends before */
  saw(pattern: RegExp): Promise<string>;
  /** What it said, when it has ended well. @throws Error with what it said on standard error */
  readonly ended: Promise<string>;
}

/** Starts an example; it is killed when the test ends. @param folder that is there, with what the example needs */
export function begun(code: string, folder: string): Example {
  mkdirSync(folder, { recursive: true });
  symlinkSync(MODULES, join(folder, 'node_modules'));
  writeFileSync(join(folder, 'example.mjs'), code);
  const child: ChildProcess = spawn(process.execPath, ['example.mjs'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const said = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  const ended = new Promise<string>((resolve, reject) =>
    child.on('close', (code) =>
      code === 0 ? resolve(said.stdout) : reject(new Error(`status ${code}: ${said.stdout}${said.stderr}`)),
    ),
  );
  const saw = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (pattern.test(said.stdout)) resolve(said.stdout);
      };
      child.stdout?.on('data', look);
      look();
      ended.then(() => (look(), reject(new Error(`it ended: ${said.stdout}`))), reject);
    });
  return { folder, saw, ended };
}
