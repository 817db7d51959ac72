/** Runs npm audit against a test registry, whose answers follow npm's documented interface. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, expect, it, onTestFinished } from 'vitest';
import { findVulnerabilities } from '../vulnerabilities.js';
import { temporary } from './helpers.js';

const BULK = '/-/npm/v1/security/advisories/bulk';

/** A project that depends on `hurt`, and on `tool` for development only; and a registry that answers about them. */
async function project(status: number, answer: object): Promise<{ root: string; requests: () => unknown[] }> {
  const requests: unknown[] = [];
  const server = createServer((request, response) => {
    void body(request).then((bytes) => {
      if (request.url === BULK) requests.push(JSON.parse(gunzipSync(bytes).toString()));
      response.writeHead(request.url === BULK ? status : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(request.url === BULK ? answer : {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const root = temporary();
  const locked = (name: string, dev: boolean): object => ({
    version: '1.0.0',
    resolved: `http://127.0.0.1/${name}.tgz`,
    ...(dev ? { dev } : {}),
  });
  const own = { name: 'x', version: '1.0.0', dependencies: { hurt: '1.0.0' }, devDependencies: { tool: '1.0.0' } };
  const packages = { '': own, 'node_modules/hurt': locked('hurt', false), 'node_modules/tool': locked('tool', true) };
  writeFileSync(join(root, 'package.json'), JSON.stringify(own));
  writeFileSync(
    join(root, 'package-lock.json'),
    JSON.stringify({ ...own, lockfileVersion: 3, requires: true, packages }),
  );
  process.env['npm_config_registry'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return { root, requests: () => requests };
}

const before = process.env['npm_config_registry'];
afterEach(() => {
  if (before === undefined) delete process.env['npm_config_registry'];
  else process.env['npm_config_registry'] = before;
});

async function body(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const signal = new AbortController().signal;

it('lists the vulnerabilities of run-time dependencies', async () => {
  const advisory = {
    id: 1,
    url: 'https://example.org/1',
    title: 'it hurts',
    severity: 'high',
    vulnerable_versions: '<2',
  };
  const { root, requests } = await project(200, {
    hurt: [{ ...advisory, cwe: [], cvss: { score: 7, vectorString: null } }],
  });
  expect(await findVulnerabilities(root, signal)).toEqual({
    holes: [{ package: 'hurt', severity: 'high', range: '<2', title: 'it hurts', url: 'https://example.org/1' }],
  });
  expect(requests()[0]).toEqual({ hurt: ['1.0.0'] });
});

it('reports that there are none', async () => {
  expect(await findVulnerabilities((await project(200, {})).root, signal)).toEqual({ holes: [] });
});

it('says when the registry does not answer', async () => {
  expect(await findVulnerabilities((await project(405, {})).root, signal)).toEqual({
    unknown: expect.stringContaining('405'),
  });
});
