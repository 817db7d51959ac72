/** Runs the examples of a README unchanged, each in its own folder in which the packages are installed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

/** The code blocks of a language, in order. A block behind `<!-- not run -->` is skipped. */
export function blocksOf(readme: URL, language: string): string[] {
  const text = readFileSync(readme, 'utf8');
  const blocks = [...text.matchAll(/(<!-- not run -->\s*)?^```(\w+)\n(.*?)^```/gms)];
  return blocks.flatMap(([, skipped, blockLanguage, code = '']) =>
    skipped === undefined && blockLanguage === language ? [code] : [],
  );
}

export interface Example {
  readonly folder: string;
  /**
   * Resolves with the standard output once it matches. @throws Error with the output, if the example ends before that
   */
  waitForOutput(pattern: RegExp): Promise<string>;
  /** The standard output, once the example has succeeded. @throws Error with the standard error if it fails */
  readonly ended: Promise<string>;
}

/** Starts an example, which is killed when the test ends. @param folder where it runs; may already have files for it */
export function startExample(code: string, folder: string): Example {
  mkdirSync(folder, { recursive: true });
  symlinkSync(MODULES, join(folder, 'node_modules'));
  writeFileSync(join(folder, 'example.mjs'), code);
  const child: ChildProcess = spawn(process.execPath, ['example.mjs'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const ended = new Promise<string>((resolve, reject) =>
    child.on('close', (code) =>
      code === 0 ? resolve(output.stdout) : reject(new Error(`status ${code}: ${output.stdout}${output.stderr}`)),
    ),
  );
  const waitForOutput = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (pattern.test(output.stdout)) resolve(output.stdout);
      };
      child.stdout?.on('data', check);
      check();
      ended.then(() => (check(), reject(new Error(`it ended: ${output.stdout}`))), reject);
    });
  return { folder, waitForOutput, ended };
}
