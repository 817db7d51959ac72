/**
 * The client's side of the handshake: asks for every feature, and uses what the server supports.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md#handshake-phase
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure, type BlockSizes, type MaybePromise } from '@nodeos/block';
import { unlessAborted } from '../wire/abort.js';
import { connectionLost } from '../wire/errors.js';
import { markOwnBuffers, Inbox } from '../wire/inbox.js';
import {
  BASE_ALLOCATION,
  DEFAULT_SIZES,
  encodeOption,
  encodeString,
  Fields,
  FIXED_NEWSTYLE,
  FLAG,
  IHAVEOPT,
  INFO,
  nameOf,
  NBDMAGIC,
  NO_ZEROES,
  OLDSTYLE_MAGIC,
  OPTION,
  OPTION_REPLY_MAGIC,
  OPTION_REPLY_SIZE,
  ProtocolError,
  readUInt64,
  REPLY,
  uint16,
  uint32,
} from '../wire/protocol.js';
import { printable } from '../wire/reply-errors.js';
import { clientTls, type ClientTls } from '../wire/tls.js';
import type { NbdUri } from '../wire/uri.js';

/** Largest reply to an option in bytes. */
const MAX_REPLY = 64 << 10;
/** Most replies to one option, such as the exports of a LIST. */
const MAX_REPLIES = 1 << 16;

/** Features that the client asks for. `false` leaves one out, for example to test older servers. Default: all. */
export interface Features {
  readonly structured?: boolean;
  readonly extended?: boolean;
  readonly allocation?: boolean;
}

export interface ExportInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The transmission flags. */
  readonly flags: number;
  readonly sizes: BlockSizes;
  readonly description?: string;
  /** The metadata contexts of the server. */
  readonly contexts: readonly string[];
}

export interface Negotiated {
  readonly inbox: Inbox;
  readonly socket: Duplex;
  readonly info: ExportInfo;
  readonly tls: boolean;
  readonly structured: boolean;
  readonly extended: boolean;
  /** The number of base:allocation; undefined if it was not agreed on. */
  readonly allocation: number | undefined;
}

/** Refusals as errno codes, as in libnbd. */
const CODES: Readonly<Record<number, string>> = {
  [REPLY.ERR_UNSUP]: 'ENOTSUP',
  [REPLY.ERR_POLICY]: 'EPERM',
  [REPLY.ERR_PLATFORM]: 'ENOTSUP',
  [REPLY.ERR_TLS_REQD]: 'ENOTSUP',
  [REPLY.ERR_UNKNOWN]: 'ENOENT',
  [REPLY.ERR_SHUTDOWN]: 'ESHUTDOWN',
};

/** The server refused an option. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  /** EINVAL for a refusal that is not in the table. */
  readonly code: string;

  constructor(
    readonly option: number,
    readonly reply: number,
    text: string,
  ) {
    super(`${nameOf(OPTION, option)} was refused: ${nameOf(REPLY, reply)}${text === '' ? '' : ` (${text})`}`);
    this.code = CODES[reply] ?? 'EINVAL';
  }

  /** Whether the server does not know the option at all. */
  get isUnknownOption(): boolean {
    return this.reply === REPLY.ERR_UNSUP;
  }

  /** Whether the server is shutting down: its successor may not refuse. */
  get isShutdown(): boolean {
    return this.reply === REPLY.ERR_SHUTDOWN;
  }

  /** Whether TLS would help. */
  get wantsTls(): boolean {
    return this.reply === REPLY.ERR_TLS_REQD;
  }

  /** Whether the server refused to list its exports. */
  get isOfList(): boolean {
    return this.option === OPTION.LIST;
  }
}

/** A connection before an export is chosen. It ends with `choose`, `disconnect` or `destroy`. */
export class Handshake {
  #structured = false;
  #extended = false;
  #tls = false;

  private constructor(
    private inbox: Inbox,
    private socket: Duplex,
    /** Undefined: an oldstyle server, which has one export and no options. */
    private readonly flags: number | undefined,
    private readonly features: Features,
  ) {}

  /**
   * @throws Error with Node.js' code if there is no connection; ProtocolError if the peer is not an NBD server;
   * RefusedError if TLS is requested and the server refuses it
   */
  static async begin(
    uri: NbdUri,
    tls: ClientTls,
    features: Features = {},
    signal?: AbortSignal,
    stream?: MakeStream,
  ): Promise<Handshake> {
    const { inbox, socket } = await (stream ? openStream(stream, signal) : openSocket(uri.at, signal));
    try {
      const hello = await inbox.read(16);
      if (hello.readBigUInt64BE(0) !== NBDMAGIC) throw new ProtocolError('this is not an NBD server');
      const magic = hello.readBigUInt64BE(8);
      if (magic !== IHAVEOPT && magic !== OLDSTYLE_MAGIC) throw new ProtocolError('an unknown kind of NBD server');
      const flags = magic === IHAVEOPT ? (await inbox.read(2)).readUInt16BE(0) : undefined;
      if (flags !== undefined) socket.write(uint32(flags & (FIXED_NEWSTYLE | NO_ZEROES)));
      const handshake = new Handshake(inbox, socket, flags, features);
      if (uri.tls) await handshake.#secure(tls, 'host' in uri.at ? uri.at.host : 'localhost');
      await handshake.#negotiate();
      return handshake;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  get tls(): boolean {
    return this.#tls;
  }

  /** The form of replies, for people. */
  get mode(): 'oldstyle' | 'simple' | 'structured' | 'extended' {
    if (this.flags === undefined) return 'oldstyle';
    return this.#extended ? 'extended' : this.#structured ? 'structured' : 'simple';
  }

  /** Whether the server accepts options other than EXPORT_NAME. */
  get hasOptions(): boolean {
    return this.flags !== undefined && (this.flags & FIXED_NEWSTYLE) !== 0;
  }

  async #secure(tls: ClientTls, host: string): Promise<void> {
    if (!this.hasOptions) throw new ProtocolError('the server has no TLS');
    await this.#option(OPTION.STARTTLS);
    const secured = await clientTls(this.inbox, this.socket, tls, host);
    this.inbox = secured.inbox;
    this.socket = secured.socket;
    this.#tls = true;
  }

  async #negotiate(): Promise<void> {
    const { extended = true, structured = true } = this.features;
    if (!this.hasOptions) return;
    this.#extended = extended && structured && (await this.#accepts(OPTION.EXTENDED_HEADERS));
    this.#structured = this.#extended || (structured && (await this.#accepts(OPTION.STRUCTURED_REPLY)));
  }

  /** @throws RefusedError if the server refuses to list its exports; Error if it has no options */
  async list(): Promise<{ name: string; description?: string }[]> {
    if (!this.hasOptions) throw failure('ENOTSUP', 'the server has no list of exports');
    const exports: { name: string; description?: string }[] = [];
    await this.#option(OPTION.LIST, undefined, (type, fields) => {
      if (type !== REPLY.SERVER) return;
      const name = fields.string();
      const description = fields.string(fields.remaining);
      exports.push({ name, ...(description === '' ? {} : { description }) });
    });
    return exports;
  }

  /**
   * Asks about an export without choosing it.
   * @throws RefusedError if there is no export of that name, or if the server does not support INFO (ERR_UNSUP); Error
   * if it has no options
   */
  async getInfo(name: string): Promise<ExportInfo> {
    if (!this.hasOptions) throw failure('ENOTSUP', 'the server tells of an export only when it is chosen');
    const contexts: string[] = [];
    if (this.#structured)
      await this.#option(OPTION.LIST_META_CONTEXT, Buffer.concat([encodeString(name), uint32(0)]), (type, fields) => {
        fields.uint32();
        if (type === REPLY.META_CONTEXT) contexts.push(fields.string(fields.remaining));
      }).catch(ignoreRefusal);
    return { ...(await this.#requestInfo(OPTION.INFO, name)), contexts };
  }

  /** Chooses an export. Requests follow. */
  async choose(name: string): Promise<Negotiated> {
    const allocation = await this.#allocation(name);
    const contexts = allocation === undefined ? [] : [BASE_ALLOCATION];
    const info = { ...(await this.#openExport(name)), contexts };
    const { inbox, socket } = this;
    return { inbox, socket, info, tls: this.#tls, structured: this.#structured, extended: this.#extended, allocation };
  }

  /** Ends the connection properly, without an export. */
  disconnect(): void {
    if (this.hasOptions) this.socket.write(encodeOption(OPTION.ABORT));
    this.socket.end(() => this.socket.destroy());
  }

  destroy(): void {
    this.socket.destroy();
  }

  async #openExport(name: string): Promise<Omit<ExportInfo, 'contexts'>> {
    if (this.flags === undefined) return this.#oldstyle();
    if (!this.hasOptions) return this.#exportName(name);
    return this.#requestInfo(OPTION.GO, name).catch((error: unknown) => {
      // Any other refusal is the server's final answer about the export.
      if (error instanceof RefusedError && error.isUnknownOption) return this.#exportName(name);
      throw error;
    });
  }

  async #oldstyle(): Promise<Omit<ExportInfo, 'contexts'>> {
    const bytes = await this.inbox.read(8 + 4 + 124);
    return {
      name: '',
      size: readUInt64(bytes, 0),
      flags: bytes.readUInt16BE(10) | FLAG.HAS_FLAGS,
      sizes: DEFAULT_SIZES,
    };
  }

  async #exportName(name: string): Promise<Omit<ExportInfo, 'contexts'>> {
    this.socket.write(encodeOption(OPTION.EXPORT_NAME, Buffer.from(name)));
    const bytes = await this.inbox.read(10 + ((this.flags ?? 0) & NO_ZEROES ? 0 : 124)).catch((error: unknown) => {
      throw connectionLost(`the server ended the connection when asked for the export ${JSON.stringify(name)}`, error);
    });
    return { name, size: readUInt64(bytes, 0), flags: bytes.readUInt16BE(8), sizes: DEFAULT_SIZES };
  }

  async #requestInfo(option: number, name: string): Promise<Omit<ExportInfo, 'contexts'>> {
    let size: number | undefined;
    let flags = 0;
    let sizes = DEFAULT_SIZES;
    let description: string | undefined;
    const readers: Readonly<Record<number, (fields: Fields) => void>> = {
      [INFO.EXPORT]: (fields) => ([size, flags] = [fields.uint64(), fields.uint16()]),
      [INFO.DESCRIPTION]: (fields) => (description = fields.string(fields.remaining)),
      [INFO.BLOCK_SIZE]: (fields) => (sizes = sizesOf(fields)),
    };
    const wanted = [INFO.NAME, INFO.DESCRIPTION, INFO.BLOCK_SIZE].map(uint16);
    const data = Buffer.concat([encodeString(name), uint16(wanted.length), ...wanted]);
    await this.#option(option, data, (type, fields) => {
      if (type === REPLY.INFO) readers[fields.uint16()]?.(fields);
    });
    if (size === undefined) throw new ProtocolError(`${nameOf(OPTION, option)}: the server did not tell the size`);
    return { name, size, flags, sizes, ...(description === undefined ? {} : { description }) };
  }

  async #allocation(name: string): Promise<number | undefined> {
    if (!this.#structured || this.features.allocation === false) return undefined;
    let id: number | undefined;
    const data = Buffer.concat([encodeString(name), uint32(1), encodeString(BASE_ALLOCATION)]);
    await this.#option(OPTION.SET_META_CONTEXT, data, (type, fields) => {
      const number = fields.uint32();
      if (type === REPLY.META_CONTEXT && fields.string(fields.remaining) === BASE_ALLOCATION) id = number;
    }).catch(ignoreRefusal);
    return id;
  }

  async #accepts(option: number): Promise<boolean> {
    return this.#option(option).then(
      () => true,
      (error: unknown) => {
        ignoreRefusal(error);
        return false;
      },
    );
  }

  /** Sends an option and reads its replies up to the final one. @throws RefusedError */
  async #option(option: number, data?: Uint8Array, onReply?: (type: number, fields: Fields) => void): Promise<void> {
    this.socket.write(encodeOption(option, data));
    for (let count = 0; count < MAX_REPLIES; count++) {
      const header = await this.inbox.read(OPTION_REPLY_SIZE);
      const type = header.readUInt32BE(12);
      const length = header.readUInt32BE(16);
      const subject = `the reply to ${nameOf(OPTION, option)}`;
      if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || header.readUInt32BE(8) !== option)
        throw new ProtocolError(`${subject}: not a reply to it`);
      if (length > MAX_REPLY) throw new ProtocolError(`${subject}: ${length} bytes`);
      const bytes = await this.inbox.read(length);
      if (type === REPLY.ACK) return;
      if (type >= REPLY.ERR_UNSUP) throw new RefusedError(option, type, printable(bytes.toString()));
      onReply?.(type, new Fields(bytes, subject));
    }
    throw new ProtocolError(`${nameOf(OPTION, option)}: more than ${MAX_REPLIES} replies`);
  }
}

function ignoreRefusal(error: unknown): undefined {
  if (!(error instanceof RefusedError)) throw error;
}

/** @throws ProtocolError for block sizes that are not valid */
function sizesOf(fields: Fields): BlockSizes {
  const sizes = { minimum: fields.uint32(), preferred: fields.uint32(), maximum: fields.uint32() };
  const isPower = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;
  const { minimum, preferred, maximum } = sizes;
  if (!isPower(minimum) || minimum > 65536 || preferred < minimum || maximum < minimum)
    throw new ProtocolError(`block sizes ${minimum}/${preferred}/${maximum}`);
  return sizes;
}

/** Makes the stream to the server, of any kind. */
export type MakeStream = (signal: AbortSignal) => MaybePromise<Duplex>;

/** @throws the errors of `make`, or the signal's reason; a stream that arrives later is destroyed */
async function openStream(
  make: MakeStream,
  signal = new AbortController().signal,
): Promise<{ inbox: Inbox; socket: Duplex }> {
  signal.throwIfAborted();
  const pending = Promise.resolve(make(signal));
  const socket = await unlessAborted(signal, pending).catch((error: unknown) => {
    pending.then((stream) => stream.destroy()).catch(() => undefined);
    throw error;
  });
  destroyOnAbort(signal, socket);
  const inbox = new Inbox();
  inbox.attach(socket);
  return { inbox, socket };
}

/**
 * The `signal` option of a socket is not used, because its listener stays for ever, and a client makes many
 * connections.
 */
function destroyOnAbort(signal: AbortSignal | undefined, socket: Duplex): void {
  const abort = (): void => void socket.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });
  socket.once('close', () => signal?.removeEventListener('abort', abort));
}

/** @throws Error with Node.js' code (ECONNREFUSED, ENOENT, …) */
async function openSocket(at: NbdUri['at'], signal?: AbortSignal): Promise<{ inbox: Inbox; socket: Socket }> {
  signal?.throwIfAborted();
  const inbox = new Inbox();
  const options = { onread: inbox.onread, allowHalfOpen: true };
  const socket = markOwnBuffers(new Socket(options as ConstructorParameters<typeof Socket>[0]));
  destroyOnAbort(signal, socket);
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error): void => {
      // Node.js gives no message if every address of a host refused.
      if (error instanceof AggregateError && error.message === '')
        error.message = error.errors.map(({ message }: Error) => message).join(', ');
      reject(error);
    };
    socket.once('error', failed).once('connect', () => {
      socket.off('error', failed);
      resolve();
    });
    socket.connect(at);
  });
  socket.setNoDelay(true).setKeepAlive(true, 10_000);
  inbox.attach(socket);
  return { inbox, socket };
}
