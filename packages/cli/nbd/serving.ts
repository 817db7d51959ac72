/** Runs a server while some work goes on, and cleans up afterwards. */
import { rm } from 'node:fs/promises';
import { type Closer, closing, messageOf, NodeosError, temporaryFolder } from '@nodeos/base';
import { NbdServer, type ListenAt, type ServerEvent, type ServerTls } from '@nodeos/nbd';
import type { Io } from '../command.js';
import type { OpenedExports } from '@nodeos/disk';
import { hintFrom, type Hints } from '@nodeos/disk';
import { serveMetrics } from './metrics.js';
import { unlessKilled } from './stop.js';
import { socketIn } from './uris.js';

export interface ServingOptions {
  readonly exports: OpenedExports;
  /** Empty: a private socket that only this user can reach and that is removed at the end. */
  readonly listen: readonly ListenAt[];
  readonly tls?: ServerTls | undefined;
  /** Maximum number of simultaneous connections. */
  readonly connections?: number | undefined;
  /** Maximum size of a request in bytes. */
  readonly request?: number | undefined;
  /** Maximum number of threads for busy connections. */
  readonly threads?: number | undefined;
  /** The address of the metrics server: `[HOST:]PORT` */
  readonly metrics?: string | undefined;
  /** What the metrics server says beside the counters of the NBD server. */
  readonly moreMetrics?: () => string;
  readonly onEvent: (event: ServerEvent) => void;
}

export interface Listening {
  /** URIs without an export name. */
  readonly uris: readonly string[];
  readonly metrics?: string;
}

/** Serves while `work` runs, then lets clients finish their pending requests. Closes the exports at the end. */
export function serving<T>(options: ServingOptions, io: Io, work: (listening: Listening) => Promise<T>): Promise<T> {
  const closers: Closer[] = [() => unlessKilled(options.exports.close(), io)];
  return closing(begin(options, io, closers).then(work), closers);
}

async function begin(options: ServingOptions, io: Io, closers: Closer[]): Promise<Listening> {
  const { exports, tls, connections, request, threads, onEvent } = options;
  const server = new NbdServer({
    exports: exports.resolver,
    ...(tls && { tls }),
    limits: { ...(connections === undefined ? {} : { connections }), ...(request === undefined ? {} : { request }) },
    ...(threads === undefined ? {} : { threads }),
    onEvent,
  });
  closers.push(() => shutDown(server, io));
  const listen = options.listen.length > 0 ? options.listen : [await privateSocket(closers)];
  const all: string[] = [];
  for (const address of listen) all.push(await listenTo(server, address));
  // A socket that was passed as a file descriptor does not report its path.
  const uris = all.filter((uri) => !uri.endsWith('?socket='));
  if (options.metrics === undefined) return { uris };
  const metrics = await serveMetrics(options.metrics, () => server.metrics.text() + (options.moreMetrics?.() ?? ''));
  closers.push(() => metrics.close());
  return { uris, metrics: metrics.url };
}

async function listenTo(server: NbdServer, address: ListenAt): Promise<string> {
  try {
    return await server.listen(address);
  } catch (error) {
    const location =
      'path' in address
        ? address.path
        : 'fd' in address
          ? `file descriptor ${address.fd}`
          : `${address.host}:${address.port}`;
    throw new NodeosError(`cannot listen at ${location}: ${messageOf(error)}`, {
      ...hintFrom(HINTS, error),
      cause: error,
    });
  }
}

const HINTS: Hints = {
  EADDRINUSE: 'somebody else does: --listen nbd://127.0.0.1:0 takes any free port',
  EACCES: 'ports below 1024 are for root, and folders for those who may write there',
  ENOENT: 'the folder of the socket must be there',
};

/** Creates a socket in a folder that only this user can enter. */
async function privateSocket(closers: Closer[]): Promise<ListenAt> {
  const folder = await temporaryFolder('nbd');
  // Closers run from last to first. At the front, this one runs after the server has closed.
  closers.unshift(() => rm(folder, { recursive: true, force: true }));
  return socketIn(folder);
}

/** Closes the server gracefully; after a second Ctrl-C, at once. */
async function shutDown(server: NbdServer, io: Io): Promise<void> {
  try {
    await unlessKilled(server.close(), io);
  } catch (error) {
    if (!io.kill.aborted) throw error;
    void server.close(0); // disconnects all clients
  }
}
