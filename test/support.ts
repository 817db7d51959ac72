/** For tests that run the real command: processes, ports, temporary applications. */
import { spawn, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Cache } from '@nodeos/engine';
import { expect, onTestFinished } from 'vitest';

export { freePort } from './bench/measure.js';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');

export interface Running {
  readonly child: ChildProcess;
  /** What it wrote so far. */
  readonly output: { stdout: string; stderr: string };
  /** Resolves when it has ended; a signal is 128 + its number, as in a shell. */
  readonly ended: Promise<Finished>;
  /** Resolves when `pattern` is in the output. @throws Error if the process ends without it */
  waitForOutput(pattern: RegExp): Promise<RegExpExecArray>;
}

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SIGNALS: Readonly<Record<string, number>> = { SIGINT: 130, SIGKILL: 137, SIGTERM: 143 };

/** Starts the nodeos command; it is killed when the test ends. */
export function start(args: readonly string[], options: { env?: Record<string, string>; cwd?: string } = {}): Running {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const ended = new Promise<Finished>((resolve) => {
    child.on('close', (code, signal) => resolve({ status: code ?? SIGNALS[signal ?? ''] ?? 1, ...output }));
  });
  let isOver = false;
  void ended.then(() => (isOver = true));
  return {
    child,
    output,
    ended,
    async waitForOutput(pattern) {
      for (;;) {
        const match = pattern.exec(output.stdout + output.stderr);
        if (match) return match;
        if (isOver) throw new Error(`ended without ${String(pattern)}:\n${output.stdout}\n${output.stderr}`);
        await sleep(20);
      }
    },
  };
}

/** Runs the nodeos command to its end. */
export function nodeos(...args: string[]): Promise<Finished> {
  return start(args).ended;
}

/** Runs code in a guest. */
export function exec(code: string, ...options: string[]): Promise<Finished> {
  return nodeos('start', '--exec', code, '--timeout', '60', ...options);
}

/** For what may be the first to build the toolchain and the kernel. */
export const LONG = 3_600_000;

/** Runs the body of an async function in a guest, and returns its value. */
export async function valueOf(body: string, ...options: string[]): Promise<unknown> {
  const code = `(async () => { ${body} })().then((v) => console.log(JSON.stringify(v)))`;
  const { status, stdout, stderr } = await exec(code, ...options);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** A cache that borrows the fetched sources, so that no test waits for the network, and the finished steps of those names. */
export async function cacheWith(...steps: string[]): Promise<string> {
  const [root, from] = [await temporary(), new Cache().root];
  await symlink(join(from, 'sources'), join(root, 'sources'));
  for (const name of steps) {
    await cp(join(from, 'steps', name), join(root, 'steps', name), { recursive: true, verbatimSymlinks: true });
  }
  return root;
}

export async function temporary(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'nodeos-test-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** An application in a temporary folder. */
export async function application(files: Readonly<Record<string, string>>, manifest: object = {}): Promise<string> {
  const dir = await temporary();
  const all = {
    'package.json': JSON.stringify({ name: 'app', version: '1.0.0', main: 'main.js', ...manifest }),
    ...files,
  };
  for (const [path, content] of Object.entries(all)) {
    await mkdir(join(dir, dirname(path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}

/** Asks until there is an answer: QEMU takes connections before the guest does. */
export async function request(url: string, init: RequestInit = {}, seconds = 60): Promise<Response> {
  for (const deadline = Date.now() + seconds * 1000; ;) {
    try {
      return await fetch(url, { ...init, signal: AbortSignal.timeout(5000) });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

export interface Event {
  readonly event: string;
  readonly us: number;
  readonly [detail: string]: unknown;
}

/** The boot events in the output of a run with `--events`. */
export function eventsIn(stdout: string): Event[] {
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{"us"'))
    .map((line) => JSON.parse(line) as Event);
}
