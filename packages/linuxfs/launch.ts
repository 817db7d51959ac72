/** What a kernel in a child process is: a command, and a memory that is opened as a file. */
import type { ChildProcess } from 'node:child_process';
import { openSync, readlinkSync, readdirSync } from 'node:fs';

/** How a kernel is started. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Seconds until it says that it is there. */
  readonly timeout: number;
  /** Opens the memory of the kernel that runs now. @returns a descriptor */
  memory(child: ChildProcess): number;
  /** Is called when the kernel is there, or has failed. */
  settled?(): void;
}

/** The kernel's memory is a file without a name among its descriptors. */
export function memfdOf(child: ChildProcess, name: string): number {
  const folder = `/proc/${child.pid ?? 0}/fd`;
  const found = readdirSync(folder).find((fd) => readlinkSync(`${folder}/${fd}`).startsWith(`/memfd:${name}`));
  if (found === undefined) throw new Error(`the kernel's memory is not among ${folder}`);
  return openSync(`${folder}/${found}`, 'r+');
}
