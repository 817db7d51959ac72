/**
 * QEMU's own sandbox, a system call filter. An attacker who breaks out of a guest into QEMU can neither start programs
 * nor gain privileges. https://www.qemu.org/docs/master/system/security.html#sandboxing
 */
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Board } from '@nodeos/targets';
import { sha256 } from '@nodeos/base';
import { noted } from './notes.js';

export const SANDBOX = ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'] as const;

/** Whether QEMU arguments contain a sandbox option. */
export const hasOwnSandbox = (args: readonly string[]): boolean =>
  args.some((word) => word === '-sandbox' || word === '--sandbox');

export interface SandboxOptions {
  readonly board: Board;
  /** The file that keeps the results. */
  readonly notes: string;
}

/**
 * Tests once for each QEMU whether the sandbox works. QEMU may be built without it, or the kernel may refuse it.
 * @returns why there is no sandbox; undefined if there is one, or if there is no QEMU
 */
export async function findSandboxProblem({ board, notes }: SandboxOptions): Promise<string | undefined> {
  const qemu = board.emulator.program;
  const program = await identityOf(qemu);
  if (program === undefined) return undefined;
  const problem = await noted(notes, sha256(`sandbox\n${program}`), async () => {
    const problem = await runHelp(qemu, SANDBOX);
    return problem === '' || (await runHelp(qemu, [])) === '' ? problem : undefined;
  });
  return problem === '' ? undefined : problem;
}

/** The path of a program plus values that differ for another version; undefined if there is no such program. */
async function identityOf(program: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program);
    const info = await stat(path).catch(() => undefined);
    if (info?.isFile()) return [path, info.ino, info.size, info.mtimeMs].join(' ');
  }
  return undefined;
}

/** Makes QEMU list its machines. @returns an empty string if that works, else QEMU's message */
function runHelp(qemu: string, options: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    let stderr = '';
    const child = spawn(qemu, [...options, '-machine', 'help'], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => {
      const lastLine = stderr.trim().split('\n').at(-1) ?? '';
      resolve(code === 0 ? '' : lastLine === '' ? `it ended with ${signal ?? `status ${code}`}` : lastLine);
    });
  });
}
