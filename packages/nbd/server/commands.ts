/** The commands of the server: each row says when a command is allowed, and how it runs. */
import {
  chain,
  extentsOf,
  forEachInTurn,
  isPromise,
  mergeExtents,
  pieces,
  recover,
  ZEROS,
  type BlockBackend,
  type Extent,
  type MaybePromise,
} from '@nodeos/block';
import type { Terms } from './handshake.js';
import { COMMAND, COMMAND_FLAG, Fields, FLAG, type ErrorName, type ReceivedRequest } from '../wire/protocol.js';
import { NbdError } from '../wire/reply-errors.js';
import type { Replies } from './replies.js';

export interface Task {
  readonly request: ReceivedRequest;
  readonly payload: Buffer | undefined;
  readonly server: {
    readonly backend: BlockBackend;
    readonly replies: Replies;
    readonly agreement: Terms;
    /** The most extents in one reply. */
    readonly maxExtents: number;
    /** Whether the connection is lost, so that nobody gets the reply. */
    readonly isDisconnected: boolean;
    /** Waits until no other thread uses the backend. */
    makeExclusive(): MaybePromise<void>;
  };
}

interface Row {
  /** Transmission flags without which the command is unknown. */
  readonly needs: number;
  /** Allowed command flags, besides FUA. */
  readonly flags: number;
  /** Further command flags that extended headers allow. */
  readonly extendedFlags: number;
  /** Whether the command changes the device. */
  readonly writes: boolean;
  /** Whether offset and length are a range of the device. */
  readonly ranged: boolean;
  /** Whether offset and length are meaningless and must be 0. */
  readonly empty: boolean;
  /** Whether the maximum block size limits the length, because the data is transferred. */
  readonly bounded: boolean;
  /** The error if the range ends beyond the device. */
  readonly rangeError: ErrorName;
  /** Runs the command and sends the reply, unless it throws. */
  run(task: Task): MaybePromise<void>;
}

const DEFAULTS: Omit<Row, 'run'> = {
  needs: 0,
  flags: 0,
  extendedFlags: 0,
  writes: false,
  ranged: true,
  empty: false,
  bounded: false,
  rangeError: 'EINVAL',
};

export const COMMANDS: Readonly<Record<number, Row>> = {
  [COMMAND.READ]: { ...DEFAULTS, flags: COMMAND_FLAG.DF, bounded: true, run: read },
  [COMMAND.WRITE]: {
    ...DEFAULTS,
    extendedFlags: COMMAND_FLAG.PAYLOAD_LEN,
    writes: true,
    bounded: true,
    rangeError: 'ENOSPC',
    run: (task) => finish(task, task.payload && task.server.backend.write?.(task.payload, task.request.offset)),
  },
  [COMMAND.FLUSH]: {
    ...DEFAULTS,
    needs: FLAG.SEND_FLUSH,
    ranged: false,
    empty: true,
    run: (task) => finish(task, flush(task)),
  },
  [COMMAND.TRIM]: {
    ...DEFAULTS,
    needs: FLAG.SEND_TRIM,
    writes: true,
    run: (task) => finish(task, task.server.backend.trim?.(task.request.offset, task.request.length)),
  },
  [COMMAND.CACHE]: {
    ...DEFAULTS,
    needs: FLAG.SEND_CACHE,
    run: (task) => finish(task, task.server.backend.prefetch?.(task.request.offset, task.request.length)),
  },
  [COMMAND.WRITE_ZEROES]: {
    ...DEFAULTS,
    needs: FLAG.SEND_WRITE_ZEROES,
    flags: COMMAND_FLAG.NO_HOLE | COMMAND_FLAG.FAST_ZERO,
    writes: true,
    rangeError: 'ENOSPC',
    run: (task) => finish(task, zero(task)),
  },
  [COMMAND.BLOCK_STATUS]: {
    ...DEFAULTS,
    flags: COMMAND_FLAG.REQ_ONE,
    extendedFlags: COMMAND_FLAG.PAYLOAD_LEN,
    run: blockStatus,
  },
  [COMMAND.RESIZE]: {
    ...DEFAULTS,
    needs: FLAG.SEND_RESIZE,
    writes: true,
    ranged: false,
    run: (task) =>
      finish(
        task,
        chain(task.server.makeExclusive(), () => resize(task)),
      ),
  },
};

/**
 * Finishes a command: awaits its result, flushes for FUA, and sends the reply. Synchronous if the result is. It does
 * not use `chain` for the result, and neither do reads, because that would make a function for every request and
 * promises are rare.
 */
function finish(task: Task, result: MaybePromise<void>): MaybePromise<void> {
  if (isPromise(result)) return result.then(() => finish(task, undefined));
  const wantsFlush = task.request.flags & COMMAND_FLAG.FUA && task.request.type !== COMMAND.FLUSH;
  if (wantsFlush) return chain(flush(task), () => task.server.replies.success(task.request));
  task.server.replies.success(task.request);
}

const flush = ({ server: { backend } }: Task): MaybePromise<void> => backend.flush?.();

function resize({ request: { offset, length }, server: { backend } }: Task): MaybePromise<void> {
  if (length !== 0 || !Number.isSafeInteger(offset)) throw new NbdError('EINVAL', `a new size of ${offset} bytes`);
  return backend.resize?.(offset);
}

/** Reads of at least this many bytes look for holes first. For smaller ones, sending zeros is cheaper. */
const MIN_EXTENTS_READ = 64 << 10;
/** The most chunks in one reply to a read. */
const MAX_PIECES = 64;

function read(task: Task): MaybePromise<void> {
  const { request, server } = task;
  // A data chunk has at least one byte.
  if (request.length === 0) return server.replies.success(request);
  const usesExtents =
    request.length >= MIN_EXTENTS_READ && server.replies.structured && !(request.flags & COMMAND_FLAG.DF);
  if (!usesExtents || !server.backend.extents) return readWhole(task, request.offset, request.length, true);
  // A read must not fail because its extents are unknown.
  return chain(
    recover(
      () => extentsOf(server.backend, request.offset, request.length),
      () => [],
    ),
    (extents) => readPieces(task, extents),
  );
}

function readWhole({ request, server }: Task, offset: number, length: number, isLast: boolean): MaybePromise<void> {
  const { replies, backend } = server;
  const slot = replies.reserveData(length);
  const fail = (error: unknown): never => {
    replies.cancel(slot);
    throw error;
  };
  let result: MaybePromise<void>;
  try {
    result = backend.read(replies.dataOf(slot), offset);
  } catch (error) {
    return fail(error);
  }
  if (isPromise(result)) return result.then(() => replies.sendData(slot, request, offset, isLast), fail);
  replies.sendData(slot, request, offset, isLast);
}

/** Sends holes as holes and the rest as data. Pieces are sent in order; the last one ends the reply. */
function readPieces(task: Task, extents: readonly Extent[]): MaybePromise<void> {
  const { request, server } = task;
  if (extents.length > MAX_PIECES || !extents.some(({ zero: isZero }) => isZero))
    return readWhole(task, request.offset, request.length, true);
  return forEachInTurn(extents.entries(), ([index, { offset, length, zero: isZero }]) => {
    const isLast = index === extents.length - 1;
    if (!isZero) return readWhole(task, offset, length, isLast);
    server.replies.sendHole(request, offset, length, isLast);
  });
}

function zero({ request, server }: Task): MaybePromise<void> {
  const { backend } = server;
  const { flags, offset, length } = request;
  const fast = (flags & COMMAND_FLAG.FAST_ZERO) !== 0;
  if (backend.zero) return backend.zero(offset, length, { mayTrim: !(flags & COMMAND_FLAG.NO_HOLE), fast });
  if (fast) throw new NbdError('ENOTSUP', 'zeros are written here like any other bytes');
  return (async () => {
    for (const [at, count] of pieces(offset, length, ZEROS.length)) {
      if (server.isDisconnected) throw new NbdError('ESHUTDOWN', 'the connection is lost');
      await backend.write?.(ZEROS.subarray(0, count), at);
    }
  })();
}

function blockStatus(task: Task): MaybePromise<void> {
  const { request, payload, server } = task;
  const { contexts: allowed, sizes } = server.agreement;
  const { length, contexts } = payload ? parsePayload(payload, allowed) : { ...request, contexts: allowed };
  if (contexts.length === 0) throw new NbdError('EINVAL', 'no metadata context was agreed on');
  const { offset } = request;
  if (length === 0 || offset + length > server.backend.size || offset % sizes.minimum || length % sizes.minimum)
    throw new NbdError('EINVAL', `the state of ${length} bytes at ${offset}`);
  const limit = request.flags & COMMAND_FLAG.REQ_ONE ? 1 : server.maxExtents;
  const send = (all: readonly Extent[]): void => {
    const extents = all.slice(0, limit);
    // Only one context has an answer: base:allocation.
    for (const [index, context] of contexts.entries())
      server.replies.sendExtents(request, context, extents, index === contexts.length - 1);
  };
  return chain(firstExtents(server.backend, offset, length, limit), send);
}

/** Bytes to query for extents at once: a whole disk may have millions of them. */
const WINDOW = 1 << 30;

/** The extents from the start of a range: all of them, or more than fit in a reply. */
function firstExtents(
  backend: BlockBackend,
  offset: number,
  length: number,
  limit: number,
): MaybePromise<readonly Extent[]> {
  return length <= WINDOW ? extentsOf(backend, offset, length) : byWindows(backend, offset, length, limit);
}

async function byWindows(backend: BlockBackend, offset: number, length: number, limit: number): Promise<Extent[]> {
  const found: Extent[] = [];
  for (const [at, part] of pieces(offset, length, WINDOW)) {
    const extents = await extentsOf(backend, at, part);
    const last = found.pop();
    for (const extent of mergeExtents(last ? [last, ...extents] : extents)) found.push(extent);
    if (found.length > limit) break;
  }
  return found;
}

/** Decodes the payload of a block status request: the length and the requested contexts. */
function parsePayload(payload: Buffer, allowed: readonly number[]): { length: number; contexts: readonly number[] } {
  const fields = new Fields(payload, 'BLOCK_STATUS');
  if (payload.length < 12 || payload.length % 4) throw new NbdError('EINVAL', `a payload of ${payload.length} bytes`);
  const length = fields.uint64();
  const contexts = Array.from({ length: fields.remaining / 4 }, fields.uint32);
  if (new Set(contexts).size < contexts.length || contexts.some((id) => !allowed.includes(id)))
    throw new NbdError('EINVAL', 'a metadata context that was not agreed on');
  return { length, contexts };
}
