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
  return blocks.flatMap(([, skipped, of, code = '']) => (skipped === undefined && of === language ? [code] : []));
}

export interface Example {
  readonly folder: string;
  /**
   * Resolves with the standard output once it matches. @throws Error with the output, if the example ends before that
   */
  saw(pattern: RegExp): Promise<string>;
  /** The standard output, once the example has succeeded. @throws Error with the standard error if it fails */
  readonly ended: Promise<string>;
}

/** Starts an example, which is killed when the test ends. @param folder where it runs; may already have files for it */
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
