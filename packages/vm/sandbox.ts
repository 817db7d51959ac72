/**
 * QEMU's own sandbox, a filter of system calls: who breaks out of a guest into QEMU starts no program and gets no more rights.
 * https://www.qemu.org/docs/master/system/security.html#sandboxing
 */
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Board } from '@nodeos/targets';
import { sha256 } from '@nodeos/base';
import { remembered } from './notes.js';

export const SANDBOX = ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'] as const;

/** Of arguments of QEMU. */
export const hasOwnSandbox = (args: readonly string[]): boolean =>
  args.some((word) => word === '-sandbox' || word === '--sandbox');

export interface SandboxOptions {
  readonly board: Board;
  /** Where answers are kept. */
  readonly notes: string;
}

/**
 * A QEMU can be built without it, and a kernel refuse it: it is tried once for each QEMU.
 * @returns why there is none; undefined if there is, or if there is no QEMU
 */
export async function lackOfSandbox({ board, notes }: SandboxOptions): Promise<string | undefined> {
  const qemu = board.emulator.program;
  const program = await identityOf(qemu);
  if (program === undefined) return undefined;
  const lack = await remembered(notes, sha256(`sandbox\n${program}`), async () => {
    const tried = await endOf(qemu, SANDBOX);
    return tried === '' || (await endOf(qemu, [])) === '' ? tried : undefined;
  });
  return lack === '' ? undefined : lack;
}

/** Its path, and what changes with another version; undefined if there is none. */
async function identityOf(program: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program);
    const info = await stat(path).catch(() => undefined);
    if (info?.isFile()) return [path, info.ino, info.size, info.mtimeMs].join(' ');
  }
  return undefined;
}

/** Has QEMU do next to nothing. @returns the empty string if it can; else what it says */
function endOf(qemu: string, options: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    const child = spawn(qemu, [...options, '-machine', 'help'], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => {
      const words = said.trim().split('\n').at(-1) ?? '';
      resolve(code === 0 ? '' : words === '' ? `it ended with ${signal ?? `status ${code}`}` : words);
    });
  });
}
