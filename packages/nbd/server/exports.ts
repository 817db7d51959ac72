/** The exports of a server: names, and functions that open a backend for them. */
import { failure, backendProblem, type BlockBackend, type MaybePromise } from '@nodeos/block';
import { unlessAborted } from '../wire/abort.js';

export interface Export {
  /** A description for people; at most 4096 bytes. */
  readonly description?: string;
  /**
   * Called when a client chooses the export, or asks about it (INFO), and nobody uses it yet. All users share the
   * backend that it returns.
   */
  open(): MaybePromise<BlockBackend>;
  /**
   * Separates users of the same name who must not share a backend, such as tenants. All connections of a client need
   * the same key, because the client is told that a write on one connection can be read on the other.
   */
  readonly key?: string;
  /**
   * Whether concurrent users share one backend. Default true. If false, each connection opens its own backend, and is
   * told that other connections would see something else.
   */
  readonly shared?: boolean;
  /** Refuse writes, whatever the backend supports. */
  readonly readOnly?: boolean;
  /** Tell clients that seeking costs time, as on a rotating disk. */
  readonly rotational?: boolean;
  /** Require TLS for this export, even if the server accepts connections without it. */
  readonly tls?: boolean;
  /** The view of one user: a wrapper around the backend with the same methods. Its `close` is not called. */
  view?(backend: BlockBackend, peer: Peer): BlockBackend;
}

/** The client that asks. */
export interface Peer {
  /** The number of the connection, from 1. */
  readonly connection: number;
  /** `192.0.2.7:40112`, or `unix`. */
  readonly address: string;
  readonly tls: boolean;
  /** The common name of the client's certificate, or its PSK identity, if it has one. */
  readonly identity?: string;
}

export interface ExportResolver {
  /** Answers LIST. If absent, LIST is refused. */
  list?(peer: Peer): MaybePromise<readonly { readonly name: string; readonly description?: string }[]>;
  /**
   * Finds an export. Concurrent users of the same name, with the same `key`, share one backend: the one that the first
   * of them got.
   * @returns undefined if there is no such export for this peer
   */
  find(name: string, peer: Peer): MaybePromise<Export | undefined>;
}

/** Exports by name. The empty name is the default export. */
export type Exports = Readonly<Record<string, Export>>;

/** @throws TypeError if an export has no open() */
export function resolverOf(exports: Exports | ExportResolver): ExportResolver {
  if (typeof exports['find'] === 'function') return exports as ExportResolver;
  const table = exports as Exports;
  for (const [name, entry] of Object.entries(table)) {
    const problem = exportProblem(name, entry);
    if (problem !== undefined) throw new TypeError(problem);
  }
  return {
    list: () =>
      Object.entries(table).map(([name, { description }]) => ({
        name,
        ...(description === undefined ? {} : { description }),
      })),
    find: (name) => (Object.hasOwn(table, name) ? table[name] : undefined),
  };
}

/** Both tables and the results of `find` may come from plain JavaScript, so their types are not checked. */
const exportProblem = (name: string, { open }: Partial<Export>): string | undefined =>
  typeof open === 'function' ? undefined : `the export ${JSON.stringify(name)} has no open(), which gives its backend`;

/**
 * @throws Error with the code EINVAL, which names the export and the problem, if the result is not a backend; it is
 * closed if possible
 */
async function openBackend(name: string, chosen: Export): Promise<BlockBackend> {
  const problem = exportProblem(name, chosen);
  if (problem !== undefined) throw failure('EINVAL', problem);
  const backend = await chosen.open();
  try {
    return checkedBackend(backend, `what the export ${JSON.stringify(name)} opens`);
  } catch (error) {
    const { close } = Object(backend) as Partial<BlockBackend>;
    if (typeof close === 'function') await close.call(backend);
    throw error;
  }
}

/** @throws Error with the code EINVAL, which names the problem */
function checkedBackend(backend: BlockBackend, subject: string): BlockBackend {
  const problem = backendProblem(backend);
  if (problem === undefined) return backend;
  throw failure('EINVAL', `${subject} is no backend: ${problem}`);
}

/** The user's view of a backend. @throws Error with the code EINVAL if the view is not a backend */
export function viewOf({ name, backend, export: chosen }: Opened, peer: Peer): BlockBackend {
  const view = chosen.view?.(backend, peer);
  return view === undefined ? backend : checkedBackend(view, `the view of the export ${JSON.stringify(name)}`);
}

/** A backend in use. */
export interface Opened {
  readonly name: string;
  readonly export: Export;
  readonly backend: BlockBackend;
  /** Releases the backend; the last user closes it. May be called again. */
  release(): Promise<void>;
}

/** The connection that opens an export. */
export interface Opener {
  /** Aborted when nobody waits for the export any more. */
  readonly disconnectSignal: AbortSignal;
  peer(): Peer;
  /** Reports that a backend that nobody waits for could not be closed. */
  log(event: string, error: unknown, name: string): void;
}

interface Shared {
  readonly name: string;
  users: number;
  isOpening: boolean;
  readonly backend: Promise<BlockBackend>;
}

/** Opens each export once for all its concurrent users. */
export class OpenExports {
  readonly #shared = new Map<string, Shared>();
  /** Exports that are being closed. A new user waits for that and then opens the export again. */
  readonly #closing = new Map<string, Promise<void>>();

  get names(): string[] {
    return [...this.#shared.values()].map(({ name }) => name);
  }

  /** @throws the errors of `open`, or the reason of `opener.disconnectSignal` */
  async open(name: string, chosen: Export, opener: Opener): Promise<Opened> {
    const connection = chosen.shared === false ? opener.peer().connection : null;
    const id = JSON.stringify([name, chosen.key, connection]);
    while (this.#closing.has(id)) await unlessAborted(opener.disconnectSignal, this.#closing.get(id));
    const shared = this.#shared.get(id) ?? this.#begin(id, { name, chosen, opener });
    shared.users++;
    let released = false;
    const release = async (): Promise<void> => {
      if (released) return;
      released = true;
      if (--shared.users === 0) await this.#close(id, shared);
    };
    try {
      return { name, export: chosen, backend: await unlessAborted(opener.disconnectSignal, shared.backend), release };
    } catch (error) {
      release().catch((failed: unknown) => opener.log('close', failed, name));
      throw error;
    }
  }

  #begin(id: string, { name, chosen, opener }: { name: string; chosen: Export; opener: Opener }): Shared {
    const backend = openBackend(name, chosen);
    const shared: Shared = { name, users: 0, isOpening: true, backend };
    this.#shared.set(id, shared);
    const settled = (): void => {
      shared.isOpening = false;
      if (shared.users > 0) return;
      this.#close(id, shared).catch((error: unknown) => opener.log('close', error, name));
    };
    backend.then(settled, settled);
    return shared;
  }

  /**
   * Closes the backend once nobody uses it. A backend that is still being opened stays for the next user, because
   * opening it again could take as long.
   */
  async #close(id: string, shared: Shared): Promise<void> {
    if (shared.isOpening) return;
    this.#shared.delete(id);
    const closed = shared.backend.then(
      (backend) => backend.close(),
      () => undefined, // it never opened, and its user has the error
    );
    this.#closing.set(
      id,
      closed.catch(() => undefined),
    );
    try {
      await closed;
    } finally {
      this.#closing.delete(id);
    }
  }
}
