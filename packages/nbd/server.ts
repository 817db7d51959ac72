/** The NBD server: listens, negotiates, and serves any number of exports to any number of clients. */
import { createServer, type AddressInfo, type ListenOptions, type Server, type Socket } from 'node:net';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { OpenExports, resolverOf, type ExportResolver, type Exports, type Peer } from './exports.js';
import { negotiate, type Party } from './handshake.js';
import { directly, Inbox } from './inbox.js';
import { Metrics } from './metrics.js';
import { Pool } from './pool.js';
import { DEFAULT_PORT, ProtocolError } from './protocol.js';
import { serverTls, type ServerTls } from './tls.js';
import { Transmission } from './transmission.js';

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
  /** Bytes of requests and replies that one connection may have in memory. Default 8 MiB; a larger request goes alone. */
  readonly inFlight: number;
}

export interface ServerOptions {
  readonly exports: Exports | ExportResolver;
  readonly tls?: ServerTls;
  readonly limits?: Partial<ServerLimits>;
  readonly onEvent?: (event: ServerEvent) => void;
}

const LIMITS: ServerLimits = { connections: 1024, handshake: 30, inFlight: 8 << 20 };

/** Where to listen: a TCP port (0: any that is free), a Unix socket, or a socket handed over by the service manager. */
export type ListenAt =
  { readonly host?: string; readonly port?: number } | { readonly path: string } | { readonly fd: number };

interface Connection {
  readonly id: number;
  socket: Duplex;
  readonly address: string;
  tls: boolean;
  identity?: string;
  transmission?: Transmission;
}

export class NbdServer {
  readonly metrics = new Metrics();
  readonly #connections = new Set<Connection>();
  readonly #servers = new Set<Server>();
  readonly #opened = new OpenExports();
  readonly #pool = new Pool();
  readonly #exports: ExportResolver;
  readonly #limits: ServerLimits;
  #ending = false;
  #count = 0;

  constructor(private readonly options: ServerOptions) {
    this.#exports = resolverOf(options.exports);
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** The exports that somebody uses now. */
  get openExports(): string[] {
    return this.#opened.names;
  }

  /**
   * May be called several times. A Unix socket that nobody listens at any more is replaced.
   * @returns where it listens, as an NBD URI without an export
   * @throws Error with Node.js' code (EADDRINUSE, EACCES, …)
   */
  async listen(at: ListenAt = {}): Promise<string> {
    if ('path' in at) await removeStale(at.path);
    const server = createServer({ pauseOnConnect: true, noDelay: true, allowHalfOpen: true }, (socket) =>
      this.#accept(socket),
    );
    const options: ListenOptions & { fd?: number } =
      'path' in at || 'fd' in at ? at : { host: at.host ?? '127.0.0.1', port: at.port ?? DEFAULT_PORT };
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options, resolve));
    this.#servers.add(server);
    return uriOf(server, this.options.tls?.required === true);
  }

  /**
   * Takes no more connections, answers new requests with ESHUTDOWN, finishes what has begun, and closes.
   * @param grace seconds; who is not done by then is cut off
   */
  async close(grace = 10): Promise<void> {
    this.#ending = true;
    for (const server of this.#servers) server.close();
    const cut = setTimeout(() => this.#connections.forEach(({ socket }) => socket.destroy()), grace * 1000);
    await Promise.all(
      [...this.#connections].map(async ({ transmission, socket }) => {
        if (transmission) await transmission.end();
        else if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
      }),
    );
    clearTimeout(cut);
    while (this.#connections.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  #accept(accepted: Socket): void {
    const id = ++this.#count;
    const { connections } = this.metrics;
    connections.accepted++;
    if (this.#connections.size >= this.#limits.connections || this.#ending) {
      connections.refused++;
      this.options.onEvent?.({
        event: 'refused',
        connection: id,
        peer: addressOf(accepted),
        error: new Error('too many connections'),
      });
      accepted.destroy();
      return;
    }
    const inbox = new Inbox();
    const socket = directly(accepted, inbox);
    inbox.attach(socket);
    const connection: Connection = { id, socket, address: addressOf(socket), tls: false };
    this.#connections.add(connection);
    connections.open++;
    void this.#serve(connection, inbox).finally(() => {
      this.#connections.delete(connection);
      connections.open--;
    });
  }

  /** The whole life of a connection. */
  async #serve(connection: Connection, inbox: Inbox): Promise<void> {
    const log = (event: ServerEvent['event'], error?: unknown, name?: string): void =>
      this.options.onEvent?.({
        event,
        connection: connection.id,
        peer: connection.address,
        ...(name === undefined ? {} : { export: name }),
        ...(error === undefined ? {} : { error }),
      });
    const party = this.#party(connection, inbox, log);
    const late = setTimeout(
      () => connection.socket.destroy(new ProtocolError(`no export chosen in ${this.#limits.handshake} s`)),
      this.#limits.handshake * 1000,
    );
    try {
      const agreed = await negotiate(party);
      clearTimeout(late);
      if (!agreed) return;
      const { name } = agreed.opened;
      try {
        log('open', undefined, name);
        const { socket } = connection;
        connection.transmission = new Transmission(agreed, {
          inbox: party.inbox,
          socket,
          pool: this.#pool,
          metrics: this.metrics,
          allowance: this.#limits.inFlight,
          log: (event, error) => log(event, error, name),
        });
        if (this.#ending) void connection.transmission.end();
        await connection.transmission.done;
      } finally {
        await agreed.opened.release();
        log('close', undefined, name);
      }
    } catch (error) {
      this.metrics.connections.refused++;
      log('refused', error);
      connection.socket.destroy();
    } finally {
      clearTimeout(late);
      await ended(connection.socket);
    }
  }

  #party(
    connection: Connection,
    inbox: Inbox,
    log: (event: ServerEvent['event'], error: unknown, name?: string) => void,
  ): Party {
    const { tls } = this.options;
    const server = this;
    const party: Party = {
      inbox,
      send: (bytes) => void connection.socket.write(bytes),
      tlsRequired: tls?.required === true,
      startTls:
        tls &&
        (async () => {
          const secured = await serverTls(party.inbox, connection.socket, tls);
          party.inbox = secured.inbox;
          connection.socket = secured.socket;
          connection.tls = true;
          if (secured.identity !== undefined) connection.identity = secured.identity;
        }),
      peer: (): Peer => ({
        address: connection.address,
        tls: connection.tls,
        ...(connection.identity === undefined ? {} : { identity: connection.identity }),
      }),
      exports: this.#exports,
      opened: this.#opened,
      get ending() {
        return server.#ending;
      },
      log: (_what, error, name) => log('export', error, name),
    };
    return party;
  }
}

/** Seconds that a peer has to take the last bytes. */
const LINGER = 5;

/** What is still to be sent is sent; a peer that does not take it is cut off. */
async function ended(socket: Duplex): Promise<void> {
  if (socket.destroyed) return;
  // Replies of this turn are written at its end.
  await new Promise((resolve) => setImmediate(resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const cut = setTimeout(() => socket.destroy(), LINGER * 1000);
  socket.end(() => socket.destroy());
  await closed;
  clearTimeout(cut);
}

const addressOf = ({ remoteAddress, remotePort }: Socket): string =>
  remoteAddress === undefined ? 'unix' : `${remoteAddress}:${remotePort ?? 0}`;

function uriOf(server: Server, tls: boolean): string {
  const address = server.address() as AddressInfo | string | null;
  const scheme = tls ? 'nbds' : 'nbd';
  if (address === null || typeof address === 'string')
    return `${scheme}+unix:///?socket=${encodeURIComponent(address ?? '').replaceAll('%2F', '/')}`;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${scheme}://${host}:${address.port}`;
}

/** A socket in the filesystem that nobody listens at is left from a process that was killed. */
async function removeStale(path: string): Promise<void> {
  const answer = await new Promise<string>((resolve) => {
    const socket = connect({ path });
    socket
      .on('connect', () => resolve('alive'))
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.on('connect', () => socket.destroy());
  });
  if (answer === 'ECONNREFUSED') await rm(path, { force: true });
}
