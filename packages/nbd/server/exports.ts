/** What a server offers: names, and what opens a backend when one is chosen. */
import { failure, whyNoBackend, type BlockBackend, type MaybePromise } from '@nodeos/block';
import { unlessAborted } from '../wire/abort.js';

export interface Export {
  /** For people; at most 4096 bytes. */
  readonly description?: string;
  /**
   * Called when a client chooses the export, or asks what it is like (INFO), and nobody uses it yet; its users share what
   * it gives.
   */
  open(): MaybePromise<BlockBackend>;
  /**
   * Sets those apart who choose the same name and are not to share one backend: tenants. All connections of a client need
   * the same one: they are told that what is written on one can be read on the other.
   */
  readonly key?: string;
  /**
   * Whether those who use it at the same time share one backend. Default true. With false each connection opens one of its
   * own, and is told that another connection would see something else.
   */
  readonly shared?: boolean;
  /** Refuse writes, whatever the backend can do. */
  readonly readOnly?: boolean;
  /** Clients are told that seeking costs time, as on a disk that turns. */
  readonly rotational?: boolean;
  /** Only over TLS, also where the server takes connections without. */
  readonly tls?: boolean;
  /** What one of its users sees of the backend: a wrapper around it that can do the same. Its `close` is not called. */
  view?(backend: BlockBackend, peer: Peer): BlockBackend;
}

/** Who asks. */
export interface Peer {
  /** Counts the server's connections from 1. */
  readonly connection: number;
  /** `192.0.2.7:40112`, `unix`. */
  readonly address: string;
  readonly tls: boolean;
  /** The common name of the client's certificate, or its PSK identity, if it has shown one. */
  readonly identity?: string;
}

export interface ExportResolver {
  /** For LIST; absent: listing is refused. */
  list?(peer: Peer): MaybePromise<readonly { readonly name: string; readonly description?: string }[]>;
  /**
   * Whoever uses the same name at the same time, of exports with the same `key`, shares one backend: the one that the
   * first of them was given.
   * @returns undefined if there is no such export for this peer
   */
  find(name: string, peer: Peer): MaybePromise<Export | undefined>;
}

/** By name; the empty name is the default export. */
export type Exports = Readonly<Record<string, Export>>;

/** @throws TypeError for an export that nothing opens */
export function resolverOf(exports: Exports | ExportResolver): ExportResolver {
  if (typeof exports['find'] === 'function') return exports as ExportResolver;
  const table = exports as Exports;
  for (const [name, one] of Object.entries(table)) {
    const wrong = whyNoExport(name, one);
    if (wrong !== undefined) throw new TypeError(wrong);
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

/** Both may come from plain JavaScript, and `find` may give anything. */
const whyNoExport = (name: string, { open }: Partial<Export>): string | undefined =>
  typeof open === 'function' ? undefined : `the export ${JSON.stringify(name)} has no open(), which gives its backend`;

/** @throws Error with the code EINVAL that names the export and says what is wrong; it is closed then, if it can be */
async function opened(name: string, chosen: Export): Promise<BlockBackend> {
  const wrong = whyNoExport(name, chosen);
  if (wrong !== undefined) throw failure('EINVAL', wrong);
  const backend = await chosen.open();
  try {
    return checked(backend, `what the export ${JSON.stringify(name)} opens`);
  } catch (error) {
    const { close } = Object(backend) as Partial<BlockBackend>;
    if (typeof close === 'function') await close.call(backend);
    throw error;
  }
}

/** @throws Error with the code EINVAL that says what is wrong with it */
function checked(backend: BlockBackend, what: string): BlockBackend {
  const why = whyNoBackend(backend);
  if (why === undefined) return backend;
  throw failure('EINVAL', `${what} is no backend: ${why}`);
}

/** What a user sees of a backend. @throws Error with the code EINVAL for a view that is none */
export function viewOf({ name, backend, export: chosen }: Opened, peer: Peer): BlockBackend {
  const view = chosen.view?.(backend, peer);
  return view === undefined ? backend : checked(view, `the view of the export ${JSON.stringify(name)}`);
}

/** A backend in use. */
export interface Opened {
  readonly name: string;
  readonly export: Export;
  readonly backend: BlockBackend;
  /** Its last user's closes the backend. May be called again. */
  release(): Promise<void>;
}

/** Who opens an export. */
export interface Opener {
  /** Nobody waits for it any more. */
  readonly gone: AbortSignal;
  peer(): Peer;
  /** Told if it cannot be closed that was opened for nobody. */
  log(event: string, error: unknown, name: string): void;
}

interface Shared {
  readonly name: string;
  users: number;
  isOpening: boolean;
  readonly backend: Promise<BlockBackend>;
}

/** Opens every export once, for all who use it at the same time. */
export class OpenExports {
  readonly #shared = new Map<string, Shared>();
  /** Of exports that are being closed: who comes now waits, and gets a new one. */
  readonly #closing = new Map<string, Promise<void>>();

  get names(): string[] {
    return [...this.#shared.values()].map(({ name }) => name);
  }

  /** @throws what `open` throws, or the reason why nobody waits for it */
  async open(name: string, chosen: Export, opener: Opener): Promise<Opened> {
    const own = chosen.shared === false ? opener.peer().connection : null;
    const id = JSON.stringify([name, chosen.key, own]);
    while (this.#closing.has(id)) await unlessAborted(opener.gone, this.#closing.get(id));
    const shared = this.#shared.get(id) ?? this.#begin(id, { name, chosen, opener });
    shared.users++;
    let released = false;
    const release = async (): Promise<void> => {
      if (released) return;
      released = true;
      if (--shared.users === 0) await this.#close(id, shared);
    };
    try {
      return { name, export: chosen, backend: await unlessAborted(opener.gone, shared.backend), release };
    } catch (error) {
      release().catch((failed: unknown) => opener.log('close', failed, name));
      throw error;
    }
  }

  #begin(id: string, { name, chosen, opener }: { name: string; chosen: Export; opener: Opener }): Shared {
    const backend = opened(name, chosen);
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

  /** Once nobody uses it. One that is being opened stays, for who comes next: it may take as long for that one. */
  async #close(id: string, shared: Shared): Promise<void> {
    if (shared.isOpening) return;
    this.#shared.delete(id);
    const closed = shared.backend.then(
      (backend) => backend.close(),
      () => undefined, // it never opened: its user was told
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
