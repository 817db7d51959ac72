/** Ctrl-C while a container image is fetched, in a terminal, by every verb that fetches one. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf, tarOf } from '../../packages/oci/test/images.js';
import { startRegistry, type Registry } from '../../packages/remote/test/registry.js';
import { LONG, ROOT, temporary } from '../support.js';
import { openTerminal } from '../terminal.js';

const NODEOS = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;
const LAYER = 4 << 20;
const HEADERS = ['content-length', 'content-type', 'docker-content-digest'];

let root = '';
let registry: Registry;
let stalling: Server;
let image = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodeos-fetching-'));
  await mkdir(join(root, 'registry'));
  registry = await startRegistry(join(root, 'registry'));
  const content = randomBytes(LAYER); // in nobody's cache
  const layout = await layoutOf(join(root, 'layout'), [tarOf([{ path: 'big', content }])], { config: {} });
  const to = ['--dest-tls-verify=false', `docker://${registry.host}/team/app:1`];
  await promisify(execFile)('skopeo', ['copy', '--quiet', '--insecure-policy', `oci:${layout}:latest`, ...to]);
  stalling = stallingBefore(registry.host);
  stalling.listen(0, '127.0.0.1');
  await once(stalling, 'listening');
  image = `docker://127.0.0.1:${(stalling.address() as AddressInfo).port}/team/app:1`;
});
afterAll(async () => {
  stalling.closeAllConnections();
  stalling.close();
  await registry.close();
  await rm(root, { recursive: true, force: true });
});

/** A way to a registry, on which a layer stops in its middle. */
function stallingBefore(host: string): Server {
  return createServer((request, response) => {
    const { method = 'GET', url = '/', headers } = request;
    void fetch(`http://${host}${url}`, { method, headers: { accept: headers.accept ?? '*/*' } }).then(async (from) => {
      for (const name of HEADERS) if (from.headers.has(name)) response.setHeader(name, from.headers.get(name) ?? '');
      response.writeHead(from.status);
      const body = Buffer.from(await from.arrayBuffer());
      if (body.length >= LAYER) response.write(body.subarray(0, LAYER / 2));
      else response.end(body);
    });
  });
}

describe('Ctrl-C while an image is fetched', { timeout: LONG }, () => {
  it.each(['oci pull', 'image ls', 'nbd serve', 'start'])('ends nodeos %s', async (verb) => {
    const cache = await temporary();
    const terminal = await openTerminal(80, 24, { NODEOS_CACHE: cache });
    await terminal.type(`${NODEOS} ${verb} ${image}`);
    await terminal.waitForScreen(/fetched \d+ %: \S+ MiB of 4\.0 MiB/, 30);
    await terminal.press('C-c');
    await terminal.waitForPrompt(20);
    await terminal.type('echo status $?');
    await terminal.waitForScreen(/status 130/, 5);
    expect(await terminal.hasCursor()).toBe(true);
  });
});
