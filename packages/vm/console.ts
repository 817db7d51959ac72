/** The way of the console's bytes from QEMU to this process. */
import { execFile } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { codeOf, MissingProgramError } from '@nodeos/base';

const run = promisify(execFile);
const MAKER = 'mkfifo';
const STDOUT = 1;

export interface ConsolePipe {
  /** For QEMU to write to. */
  readonly input: number;
  /** Ends when all copies of the input are closed. */
  readonly output: Readable;
  /** Closes this process's own copy of the input, if it is open. */
  release(): void;
}

/**
 * Makes a pipe of the system. What Node.js gives a child is a pair of sockets, where each write takes the room of a
 * packet: QEMU, which writes a console byte by byte, finds it full after 278 bytes. Firmware then waits 0.2 ms, and
 * drops what it cannot write. A pipe takes 64 KiB. https://man7.org/linux/man-pages/man7/pipe.7.html
 * @param path where the pipe is until it is open
 * @throws MissingProgramError without mkfifo(1)
 */
export async function consolePipe(path: string): Promise<ConsolePipe> {
  await run(MAKER, ['-m', '600', path]).catch((error: unknown) => {
    throw codeOf(error) === 'ENOENT' ? new MissingProgramError(MAKER) : error;
  });
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const input = openSync(path, constants.O_WRONLY);
  await rm(path);
  const output = new Socket({ fd: reader, readable: true, writable: false });
  let isOpen = true;
  return {
    input,
    output,
    release: () => {
      if (isOpen) closeSync(input);
      isOpen = false;
    },
  };
}

/** Whether QEMU may write to this process's own standard output: a terminal, a pipe or a file, but not a socket. */
export const canLendOutput = (): boolean => !fstatSync(STDOUT).isSocket();
