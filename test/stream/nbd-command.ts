/** Runs `nodeos nbd` in this process or as a program, and starts foreign servers: nbdkit, qemu-nbd, a web server. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { main } from 'nodeos';
import { afterAll, expect, onTestFinished } from 'vitest';
import { startServer } from '../../packages/nbd/test/support.js';
import { start, temporary, type Finished, type Running } from '../support.js';

export const MIB = 1 << 20;

/** The temporary folder of one test file. */
export const folder = mkdtempSync(join(tmpdir(), 'nodeos-nbd-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command in this process to its end. */
export async function nbd(...args: string[]): Promise<Finished> {
  const output = { stdout: '', stderr: '' };
  const into = (name: keyof typeof output): Writable =>
    new Writable({ write: (chunk, _encoding, done) => ((output[name] += String(chunk)), done()) });
  const status = await main(['nbd', ...args], {
    stdout: into('stdout'),
    stderr: into('stderr'),
    stdin: {},
    env: {},
    signal: new AbortController().signal,
    kill: new AbortController().signal,
  });
  return { status, ...output };
}

/** Runs a command that must succeed. @returns its standard output */
export async function runNbd(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await nbd(...args);
  expect(status, stderr).toBe(0);
  return stdout;
}

export const execute = promisify(execFile);

export async function tool(name: string, ...args: string[]): Promise<string> {
  return (await execute(name, args)).stdout;
}

/** Makes a sparse file with data at unaligned places and with stored zeros. */
export async function disk(folder: string, size = 10 * MIB + 512): Promise<string> {
  const path = join(folder, `disk-${randomBytes(4).toString('hex')}`);
  const handle = await open(path, 'w');
  await handle.truncate(size);
  for (const at of [0, 640 << 10, 5 * MIB + 4096, size - 512]) await handle.write(randomBytes(Math.min(70_000, size - at)), 0, undefined, at); // prettier-ignore
  await handle.write(Buffer.alloc(MIB), 0, MIB, 7 * MIB);
  await handle.close();
  return path;
}

export const sum = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

/** Bytes on disk of a path, without the holes. */
export const stored = async (path: string): Promise<number> => (await stat(path)).blocks * 512;

/** Starts the server and waits until it listens. @returns it with the URI of its first export */
export async function serve(...args: string[]): Promise<Running & { uri: string }> {
  const listen = args.includes('--listen') ? [] : ['--listen', 'nbd://127.0.0.1:0'];
  const server = start(['nbd', 'serve', ...listen, ...args]);
  const [uri] = await server.waitForOutput(/nbds?(\+unix)?:\/\/\S+/);
  return { ...server, uri };
}

/** Starts a foreign server on a Unix socket. */
export async function foreign(command: string, args: (socket: string) => string[]): Promise<string> {
  const socket = join(await temporary(), 'socket');
  await startServer(socket, command, ...args(socket));
  return `nbd+unix:///?socket=${socket}`;
}

export const nbdkit = (...args: string[]): Promise<string> =>
  foreign('nbdkit', (socket) => ['-f', '-U', socket, ...args]);
export const qemuNbd = (file: string, ...args: string[]): Promise<string> =>
  foreign('qemu-nbd', (socket) => ['-k', socket, '-t', '-e', '16', '-f', 'raw', ...args, file]);

/** Serves the file with range requests. @returns its URL */
export async function webServer(path: string, version = 'one'): Promise<string> {
  const content = await readFile(path);
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = content.subarray(Number(first), Number(last) + 1);
    const range = `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`;
    response.writeHead(206, { etag: `"${version}"`, 'content-range': range }).end(part);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;
}
