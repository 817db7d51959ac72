/** Shared helpers of the engine's tests: temporary folders, steps, and a progress that records events. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { remove } from '../cache.js';
import { NodeosError } from '@nodeos/base';
import type { BuildEvent, Progress } from '../progress.js';
import type { Step } from '../step.js';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';

export const target = targetOf(DEFAULT_TARGET);
export const recipe = import.meta.url;

/** Creates a folder that is removed when the test ends. */
export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'nodeos-build-'));
  onTestFinished(() => remove(dir));
  return dir;
}

export function stepOf(name: string, build: Step['build'], options: Partial<Step> = {}): Step {
  return { name, target, recipe, build, ...options };
}

export function recorder(): Progress & { readonly events: BuildEvent[] } {
  const events: BuildEvent[] = [];
  return { events, event: (event) => void events.push(event), close: () => Promise.resolve() };
}

/** The names in a folder; empty if the folder does not exist. */
export function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** Every path below a folder. */
export const pathsIn = (dir: string): string[] => readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();

/** Waits for a condition. The time limit only makes sure that a broken test ends. */
export async function until(condition: () => boolean, description: string): Promise<void> {
  for (let tries = 0; tries < 1500; tries++) {
    if (condition()) return;
    await sleep(20);
  }
  throw new Error(`waited for nothing: ${description}`);
}

/** Whether a process runs. A zombie, whose parent has not reaped it, does not count. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The error that rejects the promise. It must be of the given kind. */
export async function rejectionOf<T extends Error = NodeosError>(
  promise: Promise<unknown>,
  kind: abstract new (...values: never[]) => T = NodeosError as never,
): Promise<T> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error('it was not rejected');
}

export interface Server {
  readonly url: string;
  /** The requests received: path and Range header. */
  readonly requests: { readonly path: string; readonly range: string | undefined }[];
}

/** Starts an HTTP server on a free port of this host. It is closed when the test ends. */
export async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const requests: Server['requests'] = [];
  const server = createServer((request, response) => {
    requests.push({ path: request.url ?? '', range: request.headers.range });
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
