/** A folder for mounts, and programs that look at it: other processes, because this one answers them. */
import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach } from 'vitest';
import { mountFiles, type DeviceFile, type Mounted, type MountOptions } from '../index.js';

/** Why nothing can be mounted here. */
export const missing = reasonAgainst();

function reasonAgainst(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root of Linux mounts';
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return undefined;
  } catch (error) {
    return `no FUSE here: ${String(error)}`;
  }
}

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

export async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-fuse-'));
  cleanUps.push(() => rm(folder, { recursive: true }));
  return folder;
}

/** Mounts until the end of the test. */
export async function mounted(files: readonly DeviceFile[], options?: MountOptions): Promise<Mounted> {
  const mount = await mountFiles(files, await temporary(), options);
  cleanUps.push(async () => {
    mount.abort();
    await mount.ended;
  });
  return mount;
}

const run = promisify(execFile);

/** @returns what a script of the shell prints. @throws if it fails, with what it says */
export async function shell(script: string, cwd: string): Promise<string> {
  const { stdout } = await run('/bin/sh', ['-euc', script], { cwd, maxBuffer: 64 << 20, encoding: 'latin1' });
  return stdout;
}

/** What a script says when it fails. */
export async function complaintOf(script: string, cwd: string): Promise<string> {
  try {
    return `no complaint: ${await shell(script, cwd)}`;
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}
