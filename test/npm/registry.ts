/**
 * A registry of npm on the loopback, for the packages that are published to it. For all others it sends npm on to the
 * registry of npm's configuration.
 * https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md
 */
import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';

const MAX_BODY = 256 << 20;

interface Version {
  readonly name: string;
  readonly version: string;
  readonly dist: { tarball: string; readonly integrity: string };
}

/** What `npm publish` sends, and what it gets back. */
interface Packument {
  readonly name: string;
  readonly 'dist-tags': Record<string, string>;
  readonly versions: Record<string, Version>;
  readonly _attachments?: Record<string, { readonly data: string }>;
}

export class NpmRegistry {
  readonly #packages = new Map<string, Packument>();
  readonly #files = new Map<string, Buffer>();
  private constructor(
    private readonly server: Server,
    private readonly own: RegExp,
    private readonly upstream: string,
  ) {}

  /** @param own names that are nowhere else, whether they are published yet or not */
  static async start(own: RegExp): Promise<NpmRegistry> {
    const { stdout } = await promisify(execFile)('npm', ['config', 'get', 'registry']);
    const server = createServer();
    const registry = new NpmRegistry(server, own, stdout.trim().replace(/\/*$/, '/'));
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      registry.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** The names of what was published. */
  get names(): string[] {
    return [...this.#packages.keys()].sort();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '', this.url).pathname.slice(1));
    const file = this.#files.get(path);
    if (file) return void response.end(file);
    if (request.method === 'PUT') return this.#publish(request, response);
    const [, name = '', version] = /^(@[^/]+\/[^/]+|[^@/-][^/]*)(?:\/([^/]+))?$/.exec(path) ?? [];
    const found = this.#packages.get(name);
    if (found) return this.#tell(found, version, response);
    if (this.own.test(name)) return void response.writeHead(404).end('{}');
    response.writeHead(302, { location: this.upstream + (request.url ?? '').slice(1) }).end();
  }

  #tell(found: Packument, version: string | undefined, response: ServerResponse): void {
    const answer = version === undefined ? found : found.versions[found['dist-tags'][version] ?? version];
    if (!answer) return void response.writeHead(404).end('{}');
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  async #publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (Number(request.headers['content-length']) > MAX_BODY) return void response.writeHead(413).end();
    if (request.headers.authorization === undefined) return void response.writeHead(401).end();
    const { _attachments: attachments = {}, ...packument } = JSON.parse(
      (await buffer(request)).toString(),
    ) as Packument;
    const { name } = packument;
    const before = this.#packages.get(name);
    const [version] = Object.values(packument.versions);
    if (!version) return void response.writeHead(400).end();
    if (before?.versions[version.version]) return void response.writeHead(409).end('{"error":"it is there already"}');
    const path = `${name}/-/${name.split('/').at(-1) ?? ''}-${version.version}.tgz`;
    const [attachment] = Object.values(attachments);
    this.#files.set(path, Buffer.from(attachment?.data ?? '', 'base64'));
    version.dist.tarball = this.url + path;
    this.#packages.set(name, {
      ...packument,
      'dist-tags': { ...before?.['dist-tags'], ...packument['dist-tags'] },
      versions: { ...before?.versions, [version.version]: version },
    });
    response.writeHead(201).end('{"ok":true}');
  }
}
