/** A registry that serves a layout, and does to each request what a test wants: it breaks off, lies, redirects. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** @returns whether the request is answered */
export type Trick = (request: IncomingMessage, response: ServerResponse, content: Buffer) => boolean;

export interface BadRegistry {
  readonly host: string;
  /** `METHOD PATH` of all requests, with `+auth` where they had credentials. */
  readonly requests: string[];
  trick: Trick;
  close(): Promise<void>;
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

export async function badRegistry(layout: string): Promise<BadRegistry> {
  const requests: string[] = [];
  const self = { requests, trick: (() => false) as Trick };
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}${request.headers.authorization === undefined ? '' : ' +auth'}`);
    void answer(layout, request, response, self.trick).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return Object.assign(self, { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, close });
}

async function answer(layout: string, request: IncomingMessage, response: ServerResponse, trick: Trick): Promise<void> {
  const content = await contentOf(layout, request.url ?? '');
  if (trick(request, response, content ?? Buffer.alloc(0))) return;
  if (!content) return void response.writeHead(404).end();
  sendRange(request, response, content);
}

function sendRange(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const headers = { 'content-type': MANIFEST, 'content-length': String(content.length - start) };
  if (start > 0)
    response.writeHead(206, { ...headers, 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` });
  else response.writeHead(200, headers);
  response.end(content.subarray(start));
}

async function contentOf(layout: string, url: string): Promise<Buffer | undefined> {
  const digest = /sha256:([0-9a-f]{64})/.exec(url)?.[1];
  if (digest !== undefined) return readFile(join(layout, 'blobs/sha256', digest)).catch(() => undefined);
  if (!url.includes('/manifests/')) return undefined;
  const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  return readFile(join(layout, 'blobs/sha256', manifests[0]?.digest.slice(7) ?? ''));
}
