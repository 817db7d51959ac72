/**
 * Starts a kernel in a child process: Linux as a program, or in a virtual machine. Both have two lines to this process,
 * descriptors 3 and 4, and a memory that this process opens as a file.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { kindOf } from './binary.js';
import { memfdOf, type Launch } from './launch.js';
import { decodeHello, Messages, REPLY_SIZE, type Hello } from './protocol.js';

export interface Started {
  readonly child: ChildProcess;
  /** The line for files. It is paused. */
  readonly files: Socket;
  readonly disks: Socket;
  readonly hello: Hello;
  /** The descriptor of the kernel's memory. */
  readonly memory: number;
  readonly ended: Promise<Error>;
}

interface StartOptions {
  /** The kernel's file. */
  readonly path: string;
  /** Of memory. */
  readonly bytes: number;
  readonly log?: (line: string) => void;
}

/** @throws Error if it does not start in any way, with what it logged */
export async function started({ path, bytes, log }: StartOptions): Promise<Started> {
  const kind = await kindOf(path);
  if (kind === 'program') return start(program(path, bytes), log);
  const { machines, remember } = await import('./machine.js');
  let failure: unknown;
  for (const machine of await machines(path, kind, bytes)) {
    try {
      const kernel = await start(machine, log);
      remember(machine);
      return kernel;
    } catch (error) {
      failure = error; // of the last, which needs the least
    }
  }
  throw failure;
}

/**
 * Loops of a delay in a hundredth of a second. Counting them is most of the time that the kernel needs to start, and it has
 * no hardware to wait for.
 */
const LOOPS = 10_000_000;

/** Linux as a program. */
const program = (path: string, bytes: number): Launch => ({
  command: path,
  args: ['nodefs', `mem=${Math.max(64, Math.floor(bytes / 2 ** 20))}M`, `lpj=${LOOPS}`, 'stderr=1', 'loglevel=4'],
  env: {},
  timeout: 30,
  memory: (child) => memfdOf(child, 'nodefs'),
});

async function start(launch: Launch, log: StartOptions['log']): Promise<Started> {
  const child = spawn(launch.command, launch.args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: launch.env,
    cwd: '/',
    argv0: 'linuxfs',
    detached: true, // Ctrl-C in a terminal is for us; for a disk it would be a power cut
  });
  const ended = endOf(child, launch.command, logged([child.stdout, child.stderr], log));
  const [files, disks] = [child.stdio[3], child.stdio[4]] as unknown as [Socket, Socket];
  try {
    const hello = decodeHello(await firstMessage(files, ended, launch.timeout));
    return { child, files, disks, hello, memory: launch.memory(child), ended };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    launch.settled?.();
  }
}

/** How many lines of the log say what ended a kernel. */
const LINES = 5;

/** The last lines of the log, for messages; of a panic the first, before its list of addresses. */
function logged(streams: readonly (Readable | null)[], log: StartOptions['log']): string[] {
  const lines: string[] = [];
  let isPanic = false;
  const onLine = (line: string): void => {
    log?.(line);
    if (isPanic && lines.length === LINES) return;
    if (!isPanic && /Kernel panic|BUG: /.test(line)) {
      isPanic = true;
      lines.splice(0, lines.length - 1);
    }
    lines.push(line);
    if (lines.length > LINES) lines.shift();
  };
  for (const stream of streams) {
    let rest = '';
    stream?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split(/\r*\n/); // a serial console ends lines with both
      rest = (parts.pop() ?? '').slice(-1024);
      parts.forEach(onLine);
    });
  }
  return lines;
}

function endOf(child: ChildProcess, command: string, lines: readonly string[]): Promise<Error> {
  return new Promise((resolve) => {
    child.on('error', (error) => {
      const isMissing = (error as { code?: string }).code === 'ENOENT';
      const why = isMissing ? `${command} is not installed, or not in PATH` : error.message;
      resolve(new Error(`the kernel cannot be started: ${why}`, { cause: error }));
    });
    child.on('close', (code, signal) =>
      resolve(new Error([`the kernel ended (${signal ?? code ?? 'unknown'})`, ...lines].join('\n'))),
    );
    for (const stream of child.stdio) stream?.on('error', () => undefined); // its end says more
  });
}

/** The data of the first message: what the kernel says of itself. */
function firstMessage(files: Duplex, ended: Promise<Error>, timeout: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const messages = new Messages();
    const timer = setTimeout(() => reject(new Error(`the kernel did not start within ${timeout} s`)), timeout * 1000);
    const onData = (chunk: Buffer): void =>
      messages.feed(chunk, (message) => {
        clearTimeout(timer);
        files.off('data', onData).pause();
        resolve(Buffer.from(message.subarray(REPLY_SIZE)));
      });
    files.on('data', onData);
    void ended.then((error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
