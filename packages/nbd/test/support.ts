/** Shared by the tests of the NBD package: servers that are closed, programs that judge, backends with changes. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withClose, type BlockBackend } from '@nodeos/block';
import { onTestFinished } from 'vitest';
import type { Exports } from '../server/exports.js';
import { NbdServer, type ServerEvent, type ServerOptions } from '../server/server.js';

export const KIB = 1 << 10;
export const MIB = 1 << 20;

/** A new folder, removed when the test ends. */
export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'nodeos-nbd-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface Served {
  readonly server: NbdServer;
  /** The path of the Unix socket. */
  readonly path: string;
  /** The events of the server. */
  readonly events: ServerEvent[];
  readonly uri: (name?: string) => string;
}

/** Starts a server on a Unix socket; it is closed when the test ends. */
export async function serve(
  exports: ServerOptions['exports'],
  options: Omit<ServerOptions, 'exports' | 'onEvent'> = {},
): Promise<Served> {
  const events: ServerEvent[] = [];
  const server = new NbdServer({ ...options, exports, onEvent: (event) => events.push(event) });
  const path = join(tempDir(), 'nbd.sock');
  await server.listen({ path });
  onTestFinished(() => server.close(0));
  return { server, path, events, uri: (name = '') => `nbd+unix:///${name}?socket=${path}` };
}

/** Each connection moves to a thread at its first request, if threads can open its device. */
export const THREADS = { threads: 2, busy: 1 } as const;
/** No connection moves to a thread. */
export const NO_THREADS = { threads: 0 } as const;

/** Exports this backend as the default export. It stays open, because the test keeps it. */
export const singleExport = (backend: BlockBackend): Exports => ({ '': { open: () => withoutClose(backend) } });

/** The same backend, which the server's close leaves open. */
export const withoutClose = (backend: BlockBackend): BlockBackend => withClose(backend, () => undefined);

/** A backend with some methods replaced; `undefined` removes a method. */
export function withOverrides(
  backend: BlockBackend,
  overrides: { readonly [K in keyof BlockBackend]?: BlockBackend[K] | undefined },
): BlockBackend {
  return new Proxy(backend, {
    get: (target, name) =>
      name in overrides ? overrides[name as keyof BlockBackend] : (Reflect.get(target, name) as unknown),
  });
}

/** A pattern in which no two places are equal. */
export function pattern(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed >>> 0 || 1;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    words[index] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}

export interface ProcessResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** nbdsh needs the system's Python; nbd-client is in sbin. */
const ENV = { ...process.env, LC_ALL: 'C.UTF-8', PATH: `/usr/sbin:/usr/bin:/sbin:/bin:${process.env['PATH'] ?? ''}` };

/** @throws Error that names the missing programs: a test that cannot run has failed */
export function requirePrograms(...programs: string[]): void {
  const missing = programs.filter((program) => spawnSync(program, ['--version'], { env: ENV }).error !== undefined);
  if (missing.length > 0) throw new Error(`these tests need programs that are not installed: ${missing.join(', ')}`);
}

/** Runs a program to its end while the server in this process keeps running. */
export function run(program: string, ...args: string[]): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { env: ENV, maxBuffer: 64 * MIB, timeout: 55_000 }, (error, stdout, stderr) => {
      const code = error?.code as unknown;
      if (code === 'ENOENT') reject(new Error(`${program} is not installed`));
      else resolve({ status: error ? (typeof code === 'number' ? code : 1) : 0, stdout, stderr });
    });
  });
}

/**
 * Starts another implementation's server, which is killed when the test ends. @returns once it listens on the socket
 */
export async function startServer(socket: string, program: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.on('error', (error) => (stderr += error.message));
  for (let tries = 0; tries < 500; tries++) {
    // A server that moves to the background exits with 0.
    if (child.exitCode || child.pid === undefined) throw new Error(`${program}: ${stderr}`);
    if (await isListening(socket)) return child;
    await sleep(20);
  }
  throw new Error(`${program} does not listen: ${stderr}`);
}

function isListening(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket).on('error', () => resolve(false));
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
  });
}

/** @returns the program's standard output. @throws Error unless it succeeds */
export async function output(program: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(program, ...args);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${status}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Runs a Python script with libnbd's handle `h`, connected to the URI, and returns its output. */
export const nbdsh = (uri: string, script: string): Promise<string> => output('nbdsh', '-u', uri, '-c', script);

/** The same, with a handle that is not connected yet. */
export const nbdshApart = (script: string): Promise<string> => output('nbdsh', '-n', '-c', `h = nbd.NBD()\n${script}`);

/** For the scripts: `fails(call, ...)` returns the name of the errno that the call fails with. */
export const FAILS = `
import errno
def fails(call, *args, **named):
    try:
        call(*args, **named)
    except nbd.Error as error:
        return errno.errorcode.get(error.errnum, error.errnum)
    return 'done'
`;

/** A promise with its resolve function. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolvePromise) => (resolve = resolvePromise));
  return { promise, resolve };
}

/** Waits until the condition is true. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}
