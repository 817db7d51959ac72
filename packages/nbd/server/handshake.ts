/**
 * The server's side of the handshake (fixed newstyle): the client sends options until it has chosen an export.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md#fixed-newstyle-negotiation
 */
import {
  BASE_ALLOCATION,
  Fields,
  FLAG,
  INFO,
  NO_ZEROES,
  OPTION,
  OPTION_SIZE,
  ProtocolError,
} from '../wire/protocol.js';
import {
  DEFAULT_SIZES,
  encodeOptionReply,
  encodeString,
  encodeText,
  FIXED_NEWSTYLE,
  IHAVEOPT,
  nameOf,
  NBDMAGIC,
  REPLY,
} from '../wire/protocol.js';
import { uint16, uint32, uint64 } from '../wire/protocol.js';
import type { BlockBackend, BlockSizes, MaybePromise } from '@nodeos/block';
import { unlessAborted } from '../wire/abort.js';
import type { Export, ExportResolver, OpenExports, Opened, Peer } from './exports.js';
import type { Inbox } from '../wire/inbox.js';

/** Largest option data in bytes that is read and answered. A larger option is an attack. */
const MAX_OPTION = 256 << 10;
/** The most queries in one option. */
const MAX_QUERIES = 1024;
/** Largest minimum block size, in bytes, that works for clients that do not ask about block sizes. */
const USUAL_MINIMUM = 512;

/** Metadata contexts by name, each with its number on the wire. */
export const CONTEXTS: Readonly<Record<string, number>> = { [BASE_ALLOCATION]: 1 };

/** What the handshake needs from its connection. */
export interface Party {
  inbox: Inbox;
  send(bytes: Uint8Array): void;
  /**
   * Resolves once the sent bytes are taken, or once the server shuts down. A client that reads no replies gets no more
   * of them.
   */
  drained(): Promise<void>;
  /** Undefined: this server has no TLS. */
  readonly startTls: (() => Promise<void>) | undefined;
  /** Refuse every option except STARTTLS and ABORT until TLS is established. */
  readonly tlsRequired: boolean;
  peer(): Peer;
  readonly exports: ExportResolver;
  readonly opened: OpenExports;
  /** Largest request in bytes. */
  readonly largest: number;
  /** Aborted when the server shuts down: it no longer waits for the client. */
  readonly endSignal: AbortSignal;
  /** Aborted when the connection is lost or too slow: it no longer waits for resolvers and exports. */
  readonly disconnectSignal: AbortSignal;
  /** For the operator: reports what the client is not told. */
  log(event: string, error: unknown, name: string): void;
}

/** The outcome of the handshake. */
export interface Agreement extends Terms {
  readonly opened: Opened;
}

/** The terms of the transmission. */
export interface Terms {
  readonly flags: number;
  readonly sizes: BlockSizes;
  readonly structured: boolean;
  readonly extended: boolean;
  /** Numbers of the chosen metadata contexts. */
  readonly contexts: readonly number[];
}

/** The state that options have set. TLS resets all of it. */
interface State {
  structured: boolean;
  extended: boolean;
  chosen?: { readonly name: string; readonly contexts: readonly number[] };
}

interface Session {
  readonly party: Party;
  readonly state: State;
  readonly noZeroes: boolean;
  /** Answers the current option. */
  readonly reply: (type: number, data?: Uint8Array) => undefined;
  /** Whether the current option has its final reply. */
  readonly answered: () => boolean;
  /** Answers with an error and a message for the user. */
  readonly refuse: (type: number, message: string) => undefined;
}

type Handler = (session: Session, data: Buffer) => Promise<Agreement | 'close' | undefined>;

/**
 * The number of options is not limited, because a client that lists a thousand exports may ask about each of them. The
 * time is limited instead.
 * @returns what was agreed on; undefined if the client left properly, or got its last answer before a shutdown
 * @throws ProtocolError if the server cannot answer; Error if the connection ends, or if the server shuts down while it
 * waits
 */
export async function negotiate(party: Party): Promise<Agreement | undefined> {
  const hello = Buffer.alloc(18);
  hello.writeBigUInt64BE(NBDMAGIC, 0);
  hello.writeBigUInt64BE(IHAVEOPT, 8);
  hello.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16);
  party.send(hello);
  // Some clients support options without setting FIXED_NEWSTYLE (go-nbd): sending an option shows that they do.
  const clientFlags = (await readBytes(party, 4)).readUInt32BE(0);
  if (clientFlags & ~(FIXED_NEWSTYLE | NO_ZEROES))
    throw new ProtocolError(`client flags 0x${clientFlags.toString(16)}`);
  const state: State = { structured: false, extended: false };
  for (;;) {
    const header = await readBytes(party, OPTION_SIZE);
    if (header.readBigUInt64BE(0) !== IHAVEOPT) throw new ProtocolError('an option without its magic number');
    const option = header.readUInt32BE(8);
    const length = header.readUInt32BE(12);
    const outcome = await answer(sessionOf(party, state, option, clientFlags), option, length);
    if (outcome === 'close') return undefined;
    if (outcome) return outcome;
    await party.drained();
    if (party.endSignal.aborted) return undefined;
  }
}

const readBytes = ({ inbox, endSignal }: Party, length: number): Promise<Buffer> =>
  unlessAborted(endSignal, inbox.read(length));

function sessionOf(party: Party, state: State, option: number, clientFlags: number): Session {
  let last: number | undefined;
  const reply = (type: number, data?: Uint8Array): undefined => {
    last = type;
    party.send(encodeOptionReply(option, type, data));
  };
  const refuse = (type: number, message: string): undefined => reply(type, encodeText(message));
  const answered = (): boolean => last !== undefined && (last === REPLY.ACK || last >= REPLY.ERR_UNSUP);
  return { party, state, noZeroes: (clientFlags & NO_ZEROES) !== 0, reply, answered, refuse };
}

async function answer(session: Session, option: number, length: number): Promise<Agreement | 'close' | undefined> {
  const { party } = session;
  if (length > MAX_OPTION) {
    if (length > 64 * MAX_OPTION || option === OPTION.EXPORT_NAME)
      throw new ProtocolError(`option ${nameOf(OPTION, option)} with ${length} bytes`);
    await unlessAborted(party.endSignal, party.inbox.skipAsync(length));
    session.refuse(REPLY.ERR_TOO_BIG, `${length} bytes; ${MAX_OPTION} are the most`);
    return undefined;
  }
  const data = await readBytes(party, length);
  if (party.tlsRequired && !party.peer().tls && !WITHOUT_TLS.has(option)) {
    if (option === OPTION.EXPORT_NAME) throw new ProtocolError('EXPORT_NAME where TLS is required');
    session.refuse(REPLY.ERR_TLS_REQD, 'this server wants TLS first');
    return undefined;
  }
  const handler = HANDLERS[option];
  if (!handler) {
    session.refuse(REPLY.ERR_UNSUP, `option ${option} is not known here`);
    return undefined;
  }
  try {
    return await handler(session, data);
  } catch (error) {
    if (!(error instanceof ProtocolError) || option === OPTION.EXPORT_NAME || session.answered()) throw error;
    session.refuse(REPLY.ERR_INVALID, error.message);
    return undefined;
  }
}

const WITHOUT_TLS = new Set<number>([OPTION.STARTTLS, OPTION.ABORT]);

const HANDLERS: Readonly<Record<number, Handler>> = {
  [OPTION.EXPORT_NAME]: exportName,
  [OPTION.ABORT]: abort,
  [OPTION.LIST]: list,
  [OPTION.STARTTLS]: startTls,
  [OPTION.INFO]: (session, data) => info(session, data, false),
  [OPTION.GO]: (session, data) => info(session, data, true),
  [OPTION.STRUCTURED_REPLY]: structuredReply,
  [OPTION.LIST_META_CONTEXT]: (session, data) => metaContext(session, data, false),
  [OPTION.SET_META_CONTEXT]: (session, data) => metaContext(session, data, true),
  [OPTION.EXTENDED_HEADERS]: extendedHeaders,
};

async function abort({ reply }: Session): Promise<'close'> {
  reply(REPLY.ACK);
  return Promise.resolve('close');
}

async function structuredReply({ state, reply, refuse }: Session, data: Buffer): Promise<undefined> {
  expectNoData(data, 'STRUCTURED_REPLY');
  if (state.extended) return refuse(REPLY.ERR_EXT_HEADER_REQD, 'extended headers are agreed on');
  if (state.structured) return refuse(REPLY.ERR_INVALID, 'structured replies are agreed on already');
  state.structured = true;
  return Promise.resolve(reply(REPLY.ACK));
}

async function extendedHeaders({ state, reply, refuse }: Session, data: Buffer): Promise<undefined> {
  expectNoData(data, 'EXTENDED_HEADERS');
  if (state.extended) return refuse(REPLY.ERR_INVALID, 'extended headers are agreed on already');
  state.structured = state.extended = true;
  return Promise.resolve(reply(REPLY.ACK));
}

async function startTls({ party, state, reply, refuse }: Session, data: Buffer): Promise<undefined> {
  expectNoData(data, 'STARTTLS');
  if (!party.startTls) return refuse(REPLY.ERR_POLICY, 'this server has no TLS');
  if (party.peer().tls) return refuse(REPLY.ERR_INVALID, 'this is TLS already');
  reply(REPLY.ACK);
  await unlessAborted(party.endSignal, party.startTls());
  // An attacker may have set what was agreed on in the clear (CVE-2021-3716).
  state.structured = state.extended = false;
  delete state.chosen;
}

async function list({ party, reply, refuse }: Session, data: Buffer): Promise<undefined> {
  expectNoData(data, 'LIST');
  if (!party.exports.list) return refuse(REPLY.ERR_POLICY, 'this server does not tell what it has');
  const exports = await lookUp(party, '', () => party.exports.list?.(party.peer()));
  if (!exports) return refuse(REPLY.ERR_POLICY, 'this server cannot tell now what it has');
  for (const { name, description = '' } of exports)
    reply(REPLY.SERVER, Buffer.concat([encodeString(name), encodeText(description)]));
  reply(REPLY.ACK);
}

function expectNoData(data: Buffer, option: string): void {
  if (data.length > 0) throw new ProtocolError(`${option} with ${data.length} bytes of data`);
}

/** Handles INFO and GO: the name of an export, and the information that the client requests. */
async function info(session: Session, data: Buffer, isGo: boolean): Promise<Agreement | undefined> {
  const { state, reply, refuse } = session;
  const fields = new Fields(data, isGo ? 'GO' : 'INFO');
  const name = fields.string();
  const wanted = new Set(Array.from({ length: fields.uint16() }, fields.uint16));
  fields.expectEnd();
  const opened = await open(session, name);
  if (!opened) return undefined;
  let agreed: Agreement | undefined;
  try {
    const { backend, export: chosen } = opened;
    const sizes = sizesOf(backend, session.party.largest);
    // INFO reports the contexts that a client could choose.
    const contexts = isGo ? contextsOf(state, name) : Object.values(CONTEXTS);
    const flags = flagsOf(backend, chosen, { ...state, contexts });
    const send = (type: number, ...parts: Uint8Array[]): void =>
      reply(REPLY.INFO, Buffer.concat([uint16(type), ...parts]));
    send(INFO.EXPORT, uint64(backend.size), uint16(flags));
    if (wanted.has(INFO.NAME)) send(INFO.NAME, Buffer.from(name));
    if (wanted.has(INFO.DESCRIPTION) && chosen.description !== undefined)
      send(INFO.DESCRIPTION, encodeText(chosen.description));
    send(INFO.BLOCK_SIZE, ...[sizes.minimum, sizes.preferred, sizes.maximum].map(uint32));
    if (isGo && sizes.minimum > USUAL_MINIMUM && !wanted.has(INFO.BLOCK_SIZE))
      return refuse(REPLY.ERR_BLOCK_SIZE_REQD, `offsets must be multiples of ${sizes.minimum}`);
    reply(REPLY.ACK);
    if (isGo) agreed = agreement(opened, flags, sizes, state);
    return agreed;
  } finally {
    if (!agreed) await release(session.party, opened);
  }
}

async function exportName({ party, state, noZeroes }: Session, data: Buffer): Promise<Agreement> {
  const name = new Fields(data, 'EXPORT_NAME').string(data.length);
  const chosen = await unlessAborted(party.disconnectSignal, party.exports.find(name, party.peer()));
  if (!chosen || (chosen.tls && !party.peer().tls))
    throw new ProtocolError(`no export ${JSON.stringify(name)} for EXPORT_NAME`);
  const opened = await party.opened.open(name, chosen, party);
  const flags = flagsOf(opened.backend, chosen, { ...state, contexts: contextsOf(state, name) });
  party.send(Buffer.concat([uint64(opened.backend.size), uint16(flags), Buffer.alloc(noZeroes ? 0 : 124)]));
  return agreement(opened, flags, sizesOf(opened.backend, party.largest), state);
}

/** Releases an export that was not chosen. */
async function release(party: Party, opened: Opened): Promise<void> {
  const closed = opened.release().catch((error: unknown) => party.log('close', error, opened.name));
  await unlessAborted(party.disconnectSignal, closed);
}

/** @returns undefined if the export was refused */
async function open({ party, refuse }: Session, name: string): Promise<Opened | undefined> {
  const chosen = await findExport({ party, refuse }, name);
  if (!chosen) return undefined;
  if (party.endSignal.aborted) return refuse(REPLY.ERR_SHUTDOWN, 'this server is being shut down');
  try {
    return await party.opened.open(name, chosen, party);
  } catch (error) {
    party.disconnectSignal.throwIfAborted();
    party.log('open', error, name);
    return refuse(REPLY.ERR_UNKNOWN, `the export ${JSON.stringify(name)} cannot be opened now`);
  }
}

async function findExport(
  { party, refuse }: Pick<Session, 'party' | 'refuse'>,
  name: string,
): Promise<Export | undefined> {
  const chosen = await lookUp(party, name, () => party.exports.find(name, party.peer()));
  if (!chosen) return refuse(REPLY.ERR_UNKNOWN, `there is no export ${JSON.stringify(name)}`);
  if (chosen.tls && !party.peer().tls)
    return refuse(REPLY.ERR_TLS_REQD, `the export ${JSON.stringify(name)} wants TLS`);
  return chosen;
}

/** The answer of a resolver; undefined if it fails. */
async function lookUp<T>(party: Party, name: string, search: () => MaybePromise<T>): Promise<T | undefined> {
  try {
    return await unlessAborted(party.disconnectSignal, search());
  } catch (error) {
    party.disconnectSignal.throwIfAborted();
    party.log('find', error, name);
    return undefined;
  }
}

/** Block sizes to announce. No request may exceed `largest`, because its data must fit in memory. */
function sizesOf(backend: BlockBackend, largest: number): BlockSizes {
  const blockSizes = backend.blockSizes ?? { ...DEFAULT_SIZES, maximum: largest };
  const { minimum, preferred } = blockSizes;
  const maximum = Math.min(blockSizes.maximum, largest);
  return { minimum, preferred: Math.min(preferred, maximum), maximum: maximum - (maximum % minimum) };
}

/** Contexts only apply to the export for which they were chosen. */
const contextsOf = ({ chosen }: State, name: string): readonly number[] =>
  chosen?.name === name ? chosen.contexts : [];

function agreement(opened: Opened, flags: number, sizes: BlockSizes, state: State): Agreement {
  const { structured, extended } = state;
  return { opened, flags, sizes, structured, extended, contexts: contextsOf(state, opened.name) };
}

/** Announces only what works. */
export function flagsOf(
  backend: BlockBackend,
  chosen: Pick<Export, 'readOnly' | 'rotational' | 'shared'>,
  { structured, extended, contexts }: Pick<Agreement, 'structured' | 'extended' | 'contexts'>,
): number {
  const writable = backend.write !== undefined && !chosen.readOnly;
  const bits: readonly (readonly [number, unknown])[] = [
    [FLAG.HAS_FLAGS, true],
    // If all connections share one backend, a flush on one covers the writes of the others.
    [FLAG.CAN_MULTI_CONN, chosen.shared ?? true],
    [FLAG.READ_ONLY, !writable],
    [FLAG.SEND_FLUSH | FLAG.SEND_FUA, backend.flush && writable],
    [FLAG.ROTATIONAL, chosen.rotational],
    [FLAG.SEND_TRIM, backend.trim && writable],
    // For a backend without zero(), the server writes zeros.
    [FLAG.SEND_WRITE_ZEROES | FLAG.SEND_FAST_ZERO, writable],
    [FLAG.SEND_DF, structured],
    [FLAG.SEND_RESIZE, backend.resize && writable],
    [FLAG.SEND_CACHE, backend.prefetch !== undefined],
    [FLAG.BLOCK_STATUS_PAYLOAD, extended && contexts.length > 0],
  ];
  return bits.reduce((all, [bit, isSupported]) => (isSupported ? all | bit : all), 0);
}

/** Lists or chooses metadata contexts. The only namespace here is `base:`. */
async function metaContext(session: Session, data: Buffer, isSet: boolean): Promise<undefined> {
  const { state, party, reply, refuse } = session;
  const fields = new Fields(data, isSet ? 'SET_META_CONTEXT' : 'LIST_META_CONTEXT');
  // This also applies if the new choice fails.
  if (isSet) delete state.chosen;
  if (!state.structured) return refuse(REPLY.ERR_INVALID, 'structured replies come first');
  const name = fields.string();
  const count = fields.uint32();
  if (count > MAX_QUERIES) return refuse(REPLY.ERR_TOO_BIG, `${count} queries; ${MAX_QUERIES} are the most`);
  const queries = Array.from({ length: count }, () => fields.string());
  fields.expectEnd();
  const unqualified = queries.find((query) => !query.includes(':'));
  if (unqualified !== undefined) return refuse(REPLY.ERR_INVALID, `${JSON.stringify(unqualified)} has no namespace`);
  if (!(await findExport({ party, refuse }, name))) return;
  const matches = Object.entries(CONTEXTS).filter(([context]) =>
    isSet
      ? queries.includes(context)
      : count === 0 || queries.some((query) => query === context || query === `${context.split(':')[0]}:`),
  );
  for (const [context, id] of matches)
    reply(REPLY.META_CONTEXT, Buffer.concat([uint32(isSet ? id : 0), Buffer.from(context)]));
  if (isSet) state.chosen = { name, contexts: matches.map(([, id]) => id) };
  reply(REPLY.ACK);
}
