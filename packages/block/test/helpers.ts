/** Helpers for the tests of this package. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll } from 'vitest';
import { around, delegate } from '../around.js';
import { failure, type BlockBackend } from '../backend.js';
import { random } from '../random.js';

/** A folder that is removed after the test file. The function returns new paths in it. */
export function scratch(): (name: string) => string {
  const root = mkdtempSync(join(tmpdir(), 'nodeos-block-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  let count = 0;
  return (name) => join(root, `${count++}-${name}`);
}

/** `inner` with delays before and after each request, so requests run and answer in any order. */
export function withRandomDelays(inner: BlockBackend, seed: number): BlockBackend {
  const nextRandom = random(seed);
  const wait = async (): Promise<void> => {
    for (let turns = Math.floor(nextRandom() * 4); turns > 0; turns--) await nextTurn();
  };
  return around(inner, async (_operation, _offset, _length, work) => {
    await wait();
    const answer = await work();
    await wait();
    return answer;
  });
}

/**
 * `inner` with a minimum and a maximum request size, like an NBD server: other requests fail. Hints must obey them too.
 */
export function bounded(inner: BlockBackend, minimum: number, maximum: number): BlockBackend {
  const device = around({ ...delegate(inner), size: inner.size, prefetch: () => undefined }, (operation, ...rest) => {
    const [offset, length, work] = rest;
    const isWhole = length % minimum === 0 || offset + length === inner.size;
    const fits = length <= maximum || !['read', 'write'].includes(operation);
    if (offset >= 0 && offset + length <= inner.size && !(offset % minimum === 0 && isWhole && fits))
      throw failure('EINVAL', `${operation} of ${length} bytes at ${offset}: not ${minimum} to ${maximum}`);
    return work();
  });
  return Object.assign(device, { blockSizes: { minimum, preferred: minimum, maximum } });
}

/** Starts an HTTP server on loopback. @returns its URL and a function that stops it */
export async function serve(listener: RequestListener): Promise<{ url: string; close: () => void }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A port that was free a moment ago, for servers that are other programs. */
export async function freePort(): Promise<number> {
  const { url, close } = await serve(() => undefined);
  close();
  return Number(new URL(url).port);
}

/** Serves the bytes by range requests, as in RFC 9110. */
export const ranges =
  (content: Uint8Array, etag = '"one"'): RequestListener =>
  (request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const [first, last] = [Number(from), Math.min(Number(to), content.length - 1)];
    const wanted = request.headers['if-match'];
    if (wanted !== undefined && wanted !== etag) return void response.writeHead(412).end();
    if (from === undefined) return void response.writeHead(200, { etag }).end(content);
    if (first >= content.length)
      return void response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    response.writeHead(206, { etag, 'content-range': `bytes ${first}-${last}/${content.length}` });
    response.end(content.subarray(first, last + 1));
  };

const NOISE = 1 << 20;
const nextRandom = random(1);
const noises = Uint8Array.from({ length: 2 * NOISE }, () => 1 + Math.floor(nextRandom() * 255));

/** Distinctive bytes without zeros, the same for the same seed. @param length up to 1 MiB */
export function noise(length: number, seed: number): Uint8Array {
  const from = (seed * 7919) % NOISE;
  return noises.slice(from, from + length);
}

export async function readAll(backend: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(backend.size);
  await backend.read(bytes, 0);
  return bytes;
}

/** The error that `work` throws or rejects with. */
export async function errorOf(work: () => unknown): Promise<Error & { code?: string; transient?: boolean }> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
