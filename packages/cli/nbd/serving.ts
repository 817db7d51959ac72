/** A server for as long as something else goes on, and nothing left of it afterwards. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Closer, closing, messageOf, NodeosError } from '@nodeos/base';
import { NbdServer, type ListenAt, type ServerEvent, type ServerTls } from '@nodeos/nbd';
import type { Io } from '../command.js';
import type { OpenedExports } from './exports.js';
import { hintFrom, type Hints } from '@nodeos/disk';
import { serveMetrics } from './metrics.js';
import { unlessKilled } from './stop.js';
import { socketIn } from './uris.js';

export interface ServingOptions {
  readonly exports: OpenedExports;
  /** Nowhere: a socket that only this user can reach, and only while this lasts. */
  readonly listen: readonly ListenAt[];
  readonly tls?: ServerTls | undefined;
  /** Connections at once. */
  readonly connections?: number | undefined;
  /** Bytes of one request. */
  readonly request?: number | undefined;
  /** Of busy connections, at most. */
  readonly threads?: number | undefined;
  /** `[HOST:]PORT` */
  readonly metrics?: string | undefined;
  readonly onEvent: (event: ServerEvent) => void;
}

export interface Listening {
  /** Without an export. */
  readonly uris: readonly string[];
  readonly metrics?: string;
}

/** Serves while `work` goes on, then lets the clients finish what they have begun. Closes the exports. */
export function serving<T>(options: ServingOptions, io: Io, work: (at: Listening) => Promise<T>): Promise<T> {
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
  for (const at of listen) all.push(await listenTo(server, at));
  // A socket that was handed over does not say its path.
  const uris = all.filter((uri) => !uri.endsWith('?socket='));
  if (options.metrics === undefined) return { uris };
  const metrics = await serveMetrics(options.metrics, () => server.metrics.text());
  closers.push(() => metrics.close());
  return { uris, metrics: metrics.url };
}

async function listenTo(server: NbdServer, at: ListenAt): Promise<string> {
  try {
    return await server.listen(at);
  } catch (error) {
    const where = 'path' in at ? at.path : 'fd' in at ? `file descriptor ${at.fd}` : `${at.host}:${at.port}`;
    throw new NodeosError(`cannot listen at ${where}: ${messageOf(error)}`, {
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

/** In a folder that nobody else can enter. */
async function privateSocket(closers: Closer[]): Promise<ListenAt> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-nbd-'));
  // Gone last, after the server: it is in front.
  closers.unshift(() => rm(folder, { recursive: true, force: true }));
  return socketIn(folder);
}

/** In good order; when asked a second time, at once. */
async function shutDown(server: NbdServer, io: Io): Promise<void> {
  try {
    await unlessKilled(server.close(), io);
  } catch (error) {
    if (!io.kill.aborted) throw error;
    void server.close(0); // everybody is cut off
  }
}
