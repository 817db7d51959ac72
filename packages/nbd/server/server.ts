/** The NBD server: listens, negotiates, and serves any number of exports to any number of clients. */
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { canMove, LOOP, Moves } from './moves.js';
import { recipeOf } from '@nodeos/block';
import { BUSY, Threads, type ThreadLog } from './threads.js';
import { lstat, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure } from '@nodeos/block';
import { unlessAborted } from '../wire/abort.js';
import { Budget } from './budget.js';
import { OpenExports, resolverOf, viewOf, type ExportResolver, type Exports, type Peer } from './exports.js';
import { lost, shutDown } from '../wire/errors.js';
import { negotiate, type Agreement, type Party } from './handshake.js';
import { directly, Inbox } from '../wire/inbox.js';
import { ended, lineOf } from './linger.js';
import { Metrics } from './metrics.js';
import { Pool } from '../wire/pool.js';
import { DEFAULT_PORT, MAX_BLOCK } from '../wire/protocol.js';
import { checkServerTls, serverTls, type ServerTls } from '../wire/tls.js';
import { Transmission } from './transmission.js';
import { formatUri } from '../wire/uri.js';

/** A line of the log. */
export interface ServerEvent {
  readonly event: 'open' | 'close' | 'refused' | 'protocol' | 'request' | 'export';
  /** Counts the server's connections from 1. */
  readonly connection: number;
  readonly peer: string;
  readonly export?: string;
  readonly error?: unknown;
}

export interface ServerLimits {
  /** Connections at once; who comes later is turned away. Default 1024. */
  readonly connections: number;
  /** Seconds until an export must have been chosen. Default 30. */
  readonly handshake: number;
  /** Bytes of requests and replies that one connection may have in memory. Default 4 MiB; a larger request goes alone. */
  readonly inFlight: number;
  /**
   * Bytes of requests and replies that all connections together may have in memory beside 256 KiB each; who needs more
   * waits. Default 256 MiB; one larger request goes while there is no other.
   */
  readonly shared: number;
  /** Bytes of one request, which clients are told as the largest block. From 64 KiB to 256 MiB. Default 32 MiB. */
  readonly request: number;
}

export interface ServerOptions {
  readonly exports: Exports | ExportResolver;
  readonly tls?: ServerTls;
  readonly limits?: Partial<ServerLimits>;
  readonly onEvent?: (event: ServerEvent) => void;
  /** Busy connections that get a thread of their own, at most. Default 0: none. */
  readonly threads?: number;
  /** Small requests in a row, at 100 a second or more, that make a connection a busy one. Default 256. */
  readonly busy?: number;
}

const LIMITS: ServerLimits = {
  connections: 1024,
  handshake: 30,
  inFlight: 4 << 20,
  shared: 256 << 20,
  request: MAX_BLOCK,
};
/** The protocol has reads of so many bytes succeed. */
export const LEAST_REQUEST = 64 << 10;
/** All of it is in memory at once. */
export const MOST_REQUEST = 256 << 20;

/** Seconds that exports have, when their clients are cut off, to answer and to be closed. */
const LAST = 2;

/** Where to listen: a TCP port (0: any that is free), a Unix socket, or a socket handed over by the service manager. */
export type ListenAt =
  { readonly host?: string; readonly port?: number } | { readonly path: string } | { readonly fd: number };

type Log = (event: ServerEvent['event'], error?: unknown, name?: string) => void;

interface Connection {
  readonly id: number;
  socket: Duplex;
  readonly address: string;
  tls: boolean;
  identity?: string;
  transmission?: Transmission;
  /** It may be served by a thread. */
  moves?: Moves;
  /** Nothing more is awaited from the client in the handshake. */
  readonly ending: AbortController;
  /** It is lost: nobody waits for what was begun for it. */
  readonly gone: AbortController;
  /** Resolves when it is closed, and what it used is given back. */
  over: Promise<void>;
}

export class NbdServer {
  readonly metrics = new Metrics();
  readonly #connections = new Set<Connection>();
  readonly #servers = new Set<Server>();
  readonly #opened = new OpenExports();
  readonly #pool = new Pool();
  readonly #exports: ExportResolver;
  readonly #limits: ServerLimits;
  readonly #budget: Budget;
  readonly #threads: Threads;
  #ending = false;
  #count = 0;

  /** @throws RangeError for a `request` that may not be; TypeError for TLS with shared keys and certificates */
  constructor(private readonly options: ServerOptions) {
    this.#exports = resolverOf(options.exports);
    this.#limits = { ...LIMITS, ...options.limits };
    const { request, shared } = this.#limits;
    this.#budget = new Budget(shared);
    this.#threads = new Threads(options.threads ?? 0, options.busy ?? BUSY, this.metrics);
    if (!(Number.isInteger(request) && request >= LEAST_REQUEST && request <= MOST_REQUEST))
      throw new RangeError(`requests of ${request} bytes: from ${LEAST_REQUEST} to ${MOST_REQUEST} may be the most`);
    if (options.tls) checkServerTls(options.tls);
  }

  /** The exports that somebody uses now, or that are being opened. */
  get openExports(): string[] {
    return this.#opened.names;
  }

  /** Bytes of requests and replies that are in memory now. */
  get heldBytes(): number {
    return [...this.#connections].reduce((sum, { transmission }) => sum + (transmission?.held ?? 0), 0);
  }

  /**
   * May be called several times. A Unix socket that nobody listens at any more is replaced.
   * @returns where it listens, as an NBD URI without an export
   * @throws Error with Node.js' code (EADDRINUSE, EACCES, …)
   */
  async listen(at: ListenAt = {}): Promise<string> {
    if ('path' in at) await removeStale(at.path);
    const server = createServer(SOCKETS, (socket) => this.#accept(socket));
    const options: ListenOptions & { fd?: number } =
      'path' in at || 'fd' in at ? at : { host: at.host ?? '127.0.0.1', port: at.port ?? DEFAULT_PORT };
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options, resolve));
    // A connection that could not be accepted (too many files are open): the others go on.
    server.on('error', (error) => this.#turnAway('', error));
    this.#servers.add(server);
    return uriOf(server, this.options.tls?.required === true);
  }

  /**
   * Takes no more connections, answers new requests with ESHUTDOWN, finishes what has begun, and closes. Who has not
   * chosen an export yet gets the answer to what was asked, and no more.
   * @param grace seconds that clients have to take their replies and go; who is not done by then is cut off. What their
   * requests are doing may take 2 s more; then it is left alone, and the log is told
   */
  async close(grace = 10): Promise<void> {
    this.#ending = true;
    for (const server of this.#servers) server.close();
    const all = [...this.#connections];
    for (const { ending, transmission, moves } of all) {
      ending.abort(shutDown());
      void moves?.stay();
      void transmission?.end();
    }
    const cut = setTimeout(() => this.#connections.forEach((connection) => lose(connection, shutDown())), grace * 1000);
    let giveUp: NodeJS.Timeout | undefined;
    const patience = new Promise((resolve) => (giveUp = setTimeout(resolve, (grace + LAST) * 1000)));
    await Promise.race([Promise.all(all.map(({ over }) => over)), patience]);
    clearTimeout(cut);
    clearTimeout(giveUp);
    void this.#threads.end();
    const error = failure('ETIMEDOUT', 'its export has not answered: it was left alone');
    for (const { id, address: peer } of all.filter((connection) => this.#connections.has(connection)))
      this.options.onEvent?.({ event: 'export', connection: id, peer, error });
  }

  /** Serves a client at the other end of any stream. @returns when the stream is closed */
  serve(stream: Duplex, address = 'stream'): Promise<void> {
    return this.#begin(stream, new Inbox(), address);
  }

  #accept(accepted: Socket): void {
    const address = addressOf(accepted);
    const full = this.#connections.size >= this.#limits.connections;
    if (full || this.#ending) {
      this.#turnAway(address, full ? failure('ECONNREFUSED', 'too many connections') : shutDown());
      accepted.destroy();
      return;
    }
    const inbox = new Inbox();
    void this.#begin(directly(accepted, inbox), inbox, address);
  }

  #turnAway(peer: string, error: Error): void {
    this.metrics.connections.accepted++;
    this.metrics.connections.refused++;
    this.options.onEvent?.({ event: 'refused', connection: ++this.#count, peer, error });
  }

  #begin(socket: Duplex, inbox: Inbox, address: string): Promise<void> {
    const { connections } = this.metrics;
    connections.accepted++;
    connections.open++;
    inbox.attach(socket);
    const connection: Connection = {
      id: ++this.#count,
      socket,
      address,
      tls: false,
      ending: new AbortController(),
      gone: new AbortController(),
      over: Promise.resolve(),
    };
    this.#connections.add(connection);
    losing(connection);
    if (this.#ending) connection.ending.abort(shutDown());
    connection.over = this.#live(connection, inbox).finally(() => {
      this.#connections.delete(connection);
      connections.open--;
    });
    return connection.over;
  }

  /** The whole life of a connection. */
  async #live(connection: Connection, inbox: Inbox): Promise<void> {
    const log: Log = (event, error, name) =>
      this.options.onEvent?.({
        event,
        connection: connection.id,
        peer: connection.address,
        ...(name === undefined ? {} : { export: name }),
        ...(error === undefined ? {} : { error }),
      });
    const party = this.#party(connection, inbox, log);
    const late = setTimeout(
      () => lose(connection, failure('ETIMEDOUT', `no export chosen in ${this.#limits.handshake} s`)),
      this.#limits.handshake * 1000,
    );
    try {
      const agreed = await negotiate(party);
      clearTimeout(late);
      if (agreed) await this.#transmit(connection, party, agreed, log);
    } catch (error) {
      this.metrics.connections.refused++;
      log('refused', error);
      connection.socket.destroy();
    } finally {
      clearTimeout(late);
      await ended(connection.socket, party.inbox, () => this.#ending);
      connection.transmission?.over();
    }
  }

  async #transmit(connection: Connection, party: Party, agreed: Agreement, log: Log): Promise<void> {
    const { name, backend, export: chosen } = agreed.opened;
    try {
      log('open', undefined, name);
      const { socket } = connection;
      const recipe = chosen.view || connection.tls ? undefined : recipeOf(backend);
      if (recipe && canMove(socket)) {
        const told: ThreadLog = (event, error) => log(event, error, name);
        connection.moves = new Moves({ socket, recipe, threads: this.#threads, log: told });
      }
      const transmission = new Transmission(agreed, viewOf(agreed.opened, party.peer()), {
        inbox: party.inbox,
        line: lineOf(socket),
        place: connection.moves ?? LOOP,
        alone: () => this.#threads.alone(backend),
        pool: this.#pool,
        metrics: this.metrics,
        allowance: this.#limits.inFlight,
        budget: this.#budget,
        log: (event, error) => log(event, error, name),
      });
      connection.transmission = transmission;
      if (connection.moves) {
        connection.moves.transmission = transmission;
        this.#threads.enter(connection.moves);
      }
      if (this.#ending) void transmission.end();
      await transmission.done;
    } finally {
      if (connection.moves) this.#threads.leave(connection.moves);
      await agreed.opened.release().catch((error: unknown) => log('export', error, name));
      log('close', undefined, name);
    }
  }

  #party(connection: Connection, inbox: Inbox, log: Log): Party {
    const { tls } = this.options;
    const { ending, gone } = connection;
    const party: Party = {
      inbox,
      send: (bytes) => void connection.socket.write(bytes),
      drained: () => unlessAborted(ending.signal, drained(connection.socket)).catch(() => undefined),
      tlsRequired: tls?.required === true,
      startTls:
        tls &&
        (async () => {
          const secured = await serverTls(party.inbox, connection.socket, tls);
          party.inbox = secured.inbox;
          connection.socket = secured.socket;
          connection.tls = true;
          losing(connection);
          if (secured.identity !== undefined) connection.identity = secured.identity;
        }),
      peer: (): Peer => ({
        connection: connection.id,
        address: connection.address,
        tls: connection.tls,
        ...(connection.identity === undefined ? {} : { identity: connection.identity }),
      }),
      exports: this.#exports,
      opened: this.#opened,
      largest: this.#limits.request,
      ending: ending.signal,
      gone: gone.signal,
      log: (_what, error, name) => log('export', error, name),
    };
    return party;
  }
}

/** A handle changes hands (see `directly`), which a paused one can; a peer that has vanished is noticed some day. */
const SOCKETS = {
  pauseOnConnect: true,
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
};

/** Who closes it, or breaks it off. */
function losing({ gone, socket }: Connection): void {
  socket.once('close', () => gone.abort(lost('the connection is closed')));
}

function lose({ gone, socket, moves }: Connection, reason: Error): void {
  gone.abort(reason);
  // A descriptor that a thread reads from is not to be closed: its number may soon be another file's.
  const here = moves?.stay();
  if (here) void here.then(() => socket.destroy(reason));
  else socket.destroy(reason);
}

async function drained(socket: Duplex): Promise<void> {
  if (!socket.writableNeedDrain || socket.destroyed) return;
  await new Promise<void>((resolve) => socket.once('drain', resolve).once('close', resolve));
}

const addressOf = ({ remoteAddress, remotePort }: Socket): string =>
  remoteAddress === undefined ? 'unix' : `${remoteAddress}:${remotePort ?? 0}`;

function uriOf(server: Server, tls: boolean): string {
  const address = server.address();
  const isPath = address === null || typeof address === 'string';
  const at = isPath ? { path: address ?? '' } : { host: address.address, port: address.port };
  return formatUri({ tls, at, export: '' });
}

/** A socket in the filesystem that nobody listens at is left from a process that was killed. */
async function removeStale(path: string): Promise<void> {
  // Connecting to what is no socket is refused as well; a file must not be lost for that.
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSocket()) return;
  const answer = await new Promise<string>((resolve) => {
    const socket = connect({ path });
    socket
      .on('connect', () => resolve('alive'))
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.on('connect', () => socket.destroy());
  });
  if (answer === 'ECONNREFUSED') await rm(path, { force: true });
}
