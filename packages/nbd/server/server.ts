/** The NBD server: listens, does the handshake, and serves any number of exports to any number of clients. */
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
import { connectionLost, shutDownError } from '../wire/errors.js';
import { negotiate, type Agreement, type Party } from './handshake.js';
import { withOwnBuffers, Inbox } from '../wire/inbox.js';
import { closeGracefully, lineOf } from './linger.js';
import { Metrics } from './metrics.js';
import { Pool } from '../wire/pool.js';
import { DEFAULT_PORT, MAX_BLOCK } from '../wire/protocol.js';
import { checkServerTls, serverTls, type ServerTls } from '../wire/tls.js';
import { Transmission } from './transmission.js';
import { formatUri } from '../wire/uri.js';

/** An event for the log. */
export interface ServerEvent {
  readonly event: 'open' | 'close' | 'refused' | 'protocol' | 'request' | 'export';
  /** The number of the connection, from 1. */
  readonly connection: number;
  readonly peer: string;
  readonly export?: string;
  readonly error?: unknown;
}

export interface ServerLimits {
  /** Connections at once; further ones are refused. Default 1024. */
  readonly connections: number;
  /** Seconds to choose an export. Default 30. */
  readonly handshake: number;
  /**
   * Bytes of requests and replies that one connection may have in memory. A larger request is served alone. Default 4
   * MiB.
   */
  readonly inFlight: number;
  /**
   * Bytes of requests and replies that all connections together may have in memory, in addition to 256 KiB per
   * connection. Requests beyond that wait. A single larger request is served while there is no other. Default 256 MiB.
   */
  readonly shared: number;
  /**
   * Largest request in bytes, announced to clients as the maximum block size. From 64 KiB to 256 MiB. Default 32 MiB.
   */
  readonly request: number;
}

export interface ServerOptions {
  readonly exports: Exports | ExportResolver;
  readonly tls?: ServerTls;
  readonly limits?: Partial<ServerLimits>;
  readonly onEvent?: (event: ServerEvent) => void;
  /** Most busy connections that get a thread of their own. Default 0: none. */
  readonly threads?: number;
  /** Small requests in a row, at 100 per second or more, that make a connection busy. Default 256. */
  readonly busy?: number;
}

const LIMITS: ServerLimits = {
  connections: 1024,
  handshake: 30,
  inFlight: 4 << 20,
  shared: 256 << 20,
  request: MAX_BLOCK,
};
/** Bytes. The protocol guarantees that reads of this size succeed. */
export const MIN_REQUEST = 64 << 10;
/** Bytes. A request is in memory as a whole. */
export const MAX_REQUEST = 256 << 20;

/** Seconds that exports have to answer and close after their clients are cut off. */
const LAST_SECONDS = 2;

/**
 * Where to listen: a TCP port (0 for any free port), a Unix socket, or a socket descriptor from the service manager.
 */
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
  /** Set if a thread may serve the connection. */
  moves?: Moves;
  /** Aborted when the handshake must not wait for the client any more. */
  readonly endController: AbortController;
  /** Aborted when the connection is lost: nobody waits for work that was begun for it. */
  readonly disconnectController: AbortController;
  /** Resolves once the connection is closed and its resources are released. */
  closed: Promise<void>;
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
  #isEnding = false;
  #count = 0;

  /**
   * @throws RangeError if `limits.request` is out of range; TypeError for an export without open(), or for TLS with
   * both shared keys and certificates
   */
  constructor(private readonly options: ServerOptions) {
    this.#exports = resolverOf(options.exports);
    this.#limits = { ...LIMITS, ...options.limits };
    const { request, shared } = this.#limits;
    this.#budget = new Budget(shared);
    this.#threads = new Threads(options.threads ?? 0, options.busy ?? BUSY, this.metrics);
    if (!(Number.isInteger(request) && request >= MIN_REQUEST && request <= MAX_REQUEST))
      throw new RangeError(`requests of ${request} bytes: from ${MIN_REQUEST} to ${MAX_REQUEST} may be the most`);
    if (options.tls) checkServerTls(options.tls);
  }

  /** The exports that are in use or being opened. */
  get openExports(): string[] {
    return this.#opened.names;
  }

  /** Bytes of requests and replies in memory now. */
  get heldBytes(): number {
    return [...this.#connections].reduce((sum, { transmission }) => sum + (transmission?.held ?? 0), 0);
  }

  /**
   * Starts listening; may be called several times. Replaces a Unix socket that nobody listens on any more.
   * @returns the address as an NBD URI without an export
   * @throws Error with Node.js' code (EADDRINUSE, EACCES, …)
   */
  async listen(at: ListenAt = {}): Promise<string> {
    if ('path' in at) await removeStale(at.path);
    const server = createServer(SOCKETS, (socket) => this.#accept(socket));
    const options: ListenOptions & { fd?: number } =
      'path' in at || 'fd' in at ? at : { host: at.host ?? '127.0.0.1', port: at.port ?? DEFAULT_PORT };
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options, resolve));
    // Accepting one connection failed, for example because too many files are open. Others continue.
    server.on('error', (error) => this.#refuse('', error));
    this.#servers.add(server);
    return uriOf(server, this.options.tls?.required === true);
  }

  /**
   * Accepts no more connections, answers new requests with ESHUTDOWN, finishes the requests under way, and closes.
   * Clients that have not chosen an export get the answer to their current option and no more.
   * @param grace seconds that clients have to take their replies and leave; then they are cut off. Requests of such
   * clients may take 2 s more; then they are abandoned and reported to `onEvent`. Default 10
   */
  async close(grace = 10): Promise<void> {
    this.#isEnding = true;
    for (const server of this.#servers) server.close();
    const all = [...this.#connections];
    for (const { endController, transmission, moves } of all) {
      endController.abort(shutDownError());
      void moves?.pin();
      void transmission?.end();
    }
    const disconnectTimer = setTimeout(
      () => this.#connections.forEach((connection) => disconnect(connection, shutDownError())),
      grace * 1000,
    );
    let giveUpTimer: NodeJS.Timeout | undefined;
    const timeout = new Promise((resolve) => (giveUpTimer = setTimeout(resolve, (grace + LAST_SECONDS) * 1000)));
    await Promise.race([Promise.all(all.map(({ closed }) => closed)), timeout]);
    clearTimeout(disconnectTimer);
    clearTimeout(giveUpTimer);
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
    const isFull = this.#connections.size >= this.#limits.connections;
    if (isFull || this.#isEnding) {
      this.#refuse(address, isFull ? failure('ECONNREFUSED', 'too many connections') : shutDownError());
      accepted.destroy();
      return;
    }
    const inbox = new Inbox();
    void this.#begin(withOwnBuffers(accepted, inbox), inbox, address);
  }

  #refuse(peer: string, error: Error): void {
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
      endController: new AbortController(),
      disconnectController: new AbortController(),
      closed: Promise.resolve(),
    };
    this.#connections.add(connection);
    watchClose(connection);
    if (this.#isEnding) connection.endController.abort(shutDownError());
    connection.closed = this.#serveConnection(connection, inbox).finally(() => {
      this.#connections.delete(connection);
      connections.open--;
    });
    return connection.closed;
  }

  /** The whole life of a connection. */
  async #serveConnection(connection: Connection, inbox: Inbox): Promise<void> {
    const log: Log = (event, error, name) =>
      this.options.onEvent?.({
        event,
        connection: connection.id,
        peer: connection.address,
        ...(name === undefined ? {} : { export: name }),
        ...(error === undefined ? {} : { error }),
      });
    const party = this.#party(connection, inbox, log);
    const timer = setTimeout(
      () => disconnect(connection, failure('ETIMEDOUT', `no export chosen in ${this.#limits.handshake} s`)),
      this.#limits.handshake * 1000,
    );
    try {
      const agreed = await negotiate(party);
      clearTimeout(timer);
      if (agreed) await this.#transmit(connection, party, agreed, log);
    } catch (error) {
      this.metrics.connections.refused++;
      log('refused', error);
      connection.socket.destroy();
    } finally {
      clearTimeout(timer);
      await closeGracefully(connection.socket, party.inbox, () => this.#isEnding);
      connection.transmission?.endLease();
    }
  }

  async #transmit(connection: Connection, party: Party, agreed: Agreement, log: Log): Promise<void> {
    const { name, backend, export: chosen } = agreed.opened;
    try {
      log('open', undefined, name);
      const { socket } = connection;
      const recipe = chosen.view || connection.tls ? undefined : recipeOf(backend);
      if (recipe && canMove(socket)) {
        const logThread: ThreadLog = (event, error) => log(event, error, name);
        connection.moves = new Moves({ socket, recipe, threads: this.#threads, log: logThread });
      }
      const transmission = new Transmission(agreed, viewOf(agreed.opened, party.peer()), {
        inbox: party.inbox,
        line: lineOf(socket),
        place: connection.moves ?? LOOP,
        makeExclusive: () => this.#threads.makeExclusive(backend),
        pool: this.#pool,
        metrics: this.metrics,
        allowance: this.#limits.inFlight,
        budget: this.#budget,
        log: (event, error) => log(event, error, name),
      });
      connection.transmission = transmission;
      if (connection.moves) {
        connection.moves.transmission = transmission;
        this.#threads.register(connection.moves);
      }
      if (this.#isEnding) void transmission.end();
      await transmission.done;
    } finally {
      if (connection.moves) this.#threads.unregister(connection.moves);
      await agreed.opened.release().catch((error: unknown) => log('export', error, name));
      log('close', undefined, name);
    }
  }

  #party(connection: Connection, inbox: Inbox, log: Log): Party {
    const { tls } = this.options;
    const { endController, disconnectController } = connection;
    const party: Party = {
      inbox,
      send: (bytes) => void connection.socket.write(bytes),
      drained: () => unlessAborted(endController.signal, drained(connection.socket)).catch(() => undefined),
      tlsRequired: tls?.required === true,
      startTls:
        tls &&
        (async () => {
          const secured = await serverTls(party.inbox, connection.socket, tls);
          party.inbox = secured.inbox;
          connection.socket = secured.socket;
          connection.tls = true;
          watchClose(connection);
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
      endSignal: endController.signal,
      disconnectSignal: disconnectController.signal,
      log: (_event, error, name) => log('export', error, name),
    };
    return party;
  }
}

/**
 * `pauseOnConnect` lets the handle move to another socket (see `withOwnBuffers`). `keepAlive` detects a peer that has
 * vanished.
 */
const SOCKETS = {
  pauseOnConnect: true,
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
};

/** Aborts `disconnectController` when either side closes the socket. */
function watchClose({ disconnectController, socket }: Connection): void {
  socket.once('close', () => disconnectController.abort(connectionLost('the connection is closed')));
}

function disconnect({ disconnectController, socket, moves }: Connection, reason: Error): void {
  disconnectController.abort(reason);
  // A descriptor that a thread reads from must not be closed, because its number may soon belong to another file.
  const returned = moves?.pin();
  if (returned) void returned.then(() => socket.destroy(reason));
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

/** Removes a Unix socket of a killed process, which nobody listens on. */
async function removeStale(path: string): Promise<void> {
  // Connecting to a regular file is refused as well. A file must not be deleted because of that.
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
