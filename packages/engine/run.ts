/**
 * The only place that runs build tools. It uses argument arrays and a clean environment, and sends the output to a log
 * and a listener. When the signal aborts, it ends the program's whole process group. An error carries the command, its
 * exit status and its last lines of output.
 */
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import {
  InterruptedError,
  LineTail,
  MissingProgramError,
  NodeosError,
  trackGroup,
  withParentDeathSignal,
} from '@nodeos/base';
import { ToolLog } from './tool-log.js';
import { storageAdvice } from './storage-advice.js';

export interface RunOptions {
  readonly cwd?: string;
  /** Folders to prepend to the search path. */
  readonly path?: readonly string[];
  /** Variables added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** `clean` (default): only PATH, HOME and reproducible settings. `host`: the caller's environment. */
  readonly environment?: 'clean' | 'host';
  readonly signal?: AbortSignal;
  /** A file that the output is appended to, up to 64 MiB. */
  readonly log?: string;
  /** Called for each line of output. */
  readonly onLine?: (line: string) => void;
  /** Number of output lines that an error shows. Default: 20. */
  readonly lastLines?: number;
  /** The program's standard input. Default: empty. */
  readonly input?: string;
  /** The exit statuses that are no failure. Default: 0. */
  readonly statuses?: readonly number[];
}

export interface RunResult {
  /** Standard output, about 16 MiB at most. */
  readonly stdout: string;
  readonly seconds: number;
  readonly status: number;
}

const LAST_LINES = 20;
const MAX_STDOUT = 16 << 20;
const KILL_AFTER_MS = 3000;

/** Settings that make tools produce the same output everywhere. 315532800 is 1980-01-01, the first date of FAT. */
export const SOURCE_DATE_EPOCH = 315532800;
const REPRODUCIBLE = { LC_ALL: 'C', TZ: 'UTC', SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH) };

/** Loaded on demand: a command that runs no program, such as a server, saves 17 MB. */
const load = (): Promise<typeof import('execa')> => import('execa');

/**
 * Runs a program to its end. @throws NodeosError if it cannot be started or fails; the signal's reason if it is aborted
 */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { execa } = await load();
  const started = performance.now();
  options.signal?.throwIfAborted();
  if (options.cwd !== undefined && !existsSync(options.cwd)) {
    throw new NodeosError(`${printable(command, args)}: its working folder ${options.cwd} does not exist`);
  }
  const [file, ...prefix] = withParentDeathSignal(command);
  const child = execa(file, [...prefix, ...args], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: environmentOf(options),
    extendEnv: false,
    detached: true,
    buffer: false,
    reject: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
  });
  const untrack = trackGroup(child.pid);
  const stopKilling = killGroupOnAbort(child.pid, options.signal);
  const log = options.log === undefined ? undefined : new ToolLog(options.log);
  log?.write(`$ ${printable(command, args)}\n`);

  const tail = new LineTail(options.lastLines ?? LAST_LINES, options.onLine);
  const stdout: Buffer[] = [];
  let stdoutBytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    if (stdoutBytes < MAX_STDOUT) stdout.push(chunk);
    stdoutBytes += chunk.length;
  });
  // Each stream is split into lines separately, so that a partial line is not mixed with the other stream.
  const splitters = [child.stdout, child.stderr].map((stream) => {
    const splitter = new LineTail(0, (line) => tail.push(`${line}\n`));
    stream.on('data', (chunk: Buffer) => {
      log?.write(chunk, stream);
      splitter.push(chunk);
    });
    return splitter;
  });
  const result = await child;
  untrack();
  stopKilling();
  for (const splitter of splitters) splitter.end();
  await log?.close();

  options.signal?.throwIfAborted();
  const status = result.exitCode ?? -1;
  if (!(options.statuses ?? [0]).includes(status)) throw failure(command, args, result, tail.lines, options.log);
  return { stdout: Buffer.concat(stdout).toString('utf8'), seconds: (performance.now() - started) / 1000, status };
}

/** The caller's search path, and the folders that Debian gives only to root: mke2fs, for one, needs no root. */
export const searchPath = (): string => [process.env['PATH'] ?? '/usr/bin:/bin', '/usr/sbin', '/sbin'].join(':');

function environmentOf(options: RunOptions): Record<string, string> {
  const host = process.env as Record<string, string>;
  const PATH = [...(options.path ?? []), searchPath()].join(':');
  const base = options.environment === 'host' ? host : { HOME: host['HOME'] ?? '/', ...REPRODUCIBLE };
  return { ...base, PATH, ...options.env };
}

function killGroupOnAbort(pid: number | undefined, signal: AbortSignal | undefined): () => void {
  if (pid === undefined || signal === undefined) return () => undefined;
  let timer: NodeJS.Timeout | undefined;
  const kill = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name);
    } catch {
      // the group has already ended
    }
  };
  const onAbort = (): void => {
    kill('SIGTERM');
    timer = setTimeout(() => kill('SIGKILL'), KILL_AFTER_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  return () => {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
    if (signal.aborted) kill('SIGKILL');
  };
}

interface Outcome {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly originalMessage?: string | undefined;
  readonly code?: string | undefined;
}

function failure(
  command: string,
  args: readonly string[],
  outcome: Outcome,
  lines: readonly string[],
  log: string | undefined,
): NodeosError {
  const refusal = lines.find((line) => line.startsWith('setpriv: failed to execute'));
  // If a PATH folder is not searchable, execvp(3) says "permission denied" even for a program that exists nowhere.
  const isNotExecutable = outcome.exitCode === 126 && !command.includes('/') && refusal?.endsWith('Permission denied');
  const missing =
    outcome.code === 'ENOENT' || (outcome.exitCode === 127 && refusal !== undefined) || isNotExecutable === true;
  const logged = log === undefined ? {} : { log };
  if (missing)
    return new MissingProgramError(command, `${printable(command, args)}: it was not found`, { lines, ...logged });
  const hint = storageAdvice(undefined, lines);
  const ending =
    outcome.signal !== undefined
      ? `ended by ${outcome.signal}`
      : outcome.exitCode !== undefined
        ? `exit status ${outcome.exitCode}`
        : (outcome.originalMessage ?? 'could not be started');
  return new NodeosError(`${printable(command, args)}: ${ending}`, {
    lines,
    ...logged,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The command, quoted so that it can be pasted into a shell. */
export function printable(command: string, args: readonly string[]): string {
  const quote = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  return [command, ...args].map(quote).join(' ');
}

/** How the caller ends a program that runs on the caller's terminal. */
export interface AttachedOptions {
  /**
   * Its reason is passed on to the program as a signal. SIGINT from a terminal is not: the terminal sent it to both.
   */
  readonly signal: AbortSignal;
  /** Kills the program at once (SIGKILL). */
  readonly kill: AbortSignal;
  readonly stdin: { readonly isTTY?: boolean };
}

/**
 * Runs a program on the caller's terminal, in the caller's environment plus `env`. Ctrl-C reaches both processes.
 * Without `options`, only the program decides when it ends.
 * @returns its exit status; 128 + the signal's number if a signal ended it
 * @throws NodeosError if it cannot be started
 */
export async function runAttached(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  options?: AttachedOptions,
): Promise<number> {
  const { execa } = await load();
  options?.signal.throwIfAborted();
  const child = execa(command, [...args], { env, stdio: 'inherit', reject: false });
  const untrack = options && forwardSignals(options, (signal) => child.kill(signal));
  const result = await child;
  untrack?.();
  if (result.exitCode !== undefined) return result.exitCode;
  if (result.signal !== undefined) return 128 + constants.signals[result.signal];
  throw failure(command, args, result, [], undefined);
}

function forwardSignals({ signal, kill, stdin }: AttachedOptions, send: (signal: NodeJS.Signals) => void): () => void {
  const onAbort = (): void => {
    const name = signal.reason instanceof InterruptedError ? signal.reason.signal : 'SIGTERM';
    if (name !== 'SIGINT' || !stdin.isTTY) send(name);
  };
  const onKill = (): void => send('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  kill.addEventListener('abort', onKill, { once: true });
  return () => {
    signal.removeEventListener('abort', onAbort);
    kill.removeEventListener('abort', onKill);
  };
}
