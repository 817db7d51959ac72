/** Runs `nodeos store` as a user does. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export const NODEOS = join(import.meta.dirname, '../bin/nodeos.js');

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param cwd the folder that it runs in */
export const nodeosStore = (cwd: string, ...args: string[]): Promise<Result> =>
  new Promise((resolve) => {
    execFile(process.execPath, [NODEOS, 'store', ...args], { cwd }, (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
