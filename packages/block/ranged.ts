/**
 * An object on a server that answers range requests, as a read-only device. The version is fixed when the device is
 * opened: every answer must carry the same ETag (or time of last change) and size, so a read never mixes two versions.
 */
import { setMaxListeners } from 'node:events';
import { checkRange, failure, type BlockBackend } from './backend.js';

/** Identifies the version of an object that an answer belongs to. */
export interface Version {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

export interface RangeAnswer extends Version {
  readonly status: number;
  readonly contentRange?: string | undefined;
  readonly contentEncoding?: string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface RangeRequest {
  /** `bytes=0-4095` */
  readonly range: string;
  /** The expected version: the server is asked to refuse the request if it has another one. */
  readonly version: Version;
  /** Aborts the request, including its body. */
  readonly signal: AbortSignal;
}

export interface RangedOptions {
  /** Milliseconds without any byte from the server after which a request fails with ETIMEDOUT. Default 30000. */
  readonly timeout?: number;
}

/** An error of a request. If it is transient, another attempt may succeed. */
export type RemoteError = Error & { code: string; transient: boolean };

/** Makes one request. Rejects only if no answer arrives. */
export type GetRange = (request: RangeRequest) => Promise<RangeAnswer>;

interface ObjectVersion extends Version {
  readonly size: number;
}

const TIMEOUT = 30_000;
const PARTIAL = 206;
/** Error codes of HTTP statuses; all others are EIO. */
const CODES: Readonly<Record<number, readonly [code: string, meaning: string]>> = {
  200: ['ENOTSUP', 'the server does not support range requests'],
  401: ['EACCES', 'not allowed'],
  403: ['EACCES', 'not allowed'],
  404: ['ENOENT', 'not there'],
  410: ['ENOENT', 'not there any more'],
  412: ['ESTALE', 'changed since it was opened'],
  416: ['ESTALE', 'shorter than when it was opened'],
};
const isTransientStatus = (status: number): boolean => status >= 500 || status === 429 || status === 408;

export const remoteFailure = (code: string, transient: boolean, message: string, cause?: unknown): RemoteError =>
  Object.assign(failure(code, message, cause), { transient });

/**
 * Opens an object by a request for its first byte. The answer tells whether the server supports ranges, the size of the
 * object and its version.
 * @param name the object, for messages
 * @throws RemoteError with the code ENOTSUP if the server has no range requests or no versions; ENOENT, EACCES, EIO,
 * ETIMEDOUT …
 */
export async function ranged(name: string, get: GetRange, options: RangedOptions = {}): Promise<BlockBackend> {
  const { timeout = TIMEOUT } = options;
  const closed = new AbortController();
  setMaxListeners(0, closed.signal); // one listener for each request under way

  async function request(first: number, into: Uint8Array, expected: ObjectVersion | undefined): Promise<ObjectVersion> {
    const range = `bytes=${first}-${first + into.length - 1}`;
    const subject = `${name}: ${range}`;
    const idleTimeout = deadline(timeout, closed.signal);
    try {
      const answer = await get({ range, version: expected ?? {}, signal: idleTimeout.signal });
      idleTimeout.refresh();
      if (answer.status === 416 && expected === undefined) return { size: 0 };
      const version = checked(answer, first, into.length, expected, subject);
      await readBody(into, answer.body, subject, idleTimeout.refresh);
      return version;
    } catch (error) {
      if (closed.signal.aborted) throw remoteFailure('ECANCELED', false, `${subject}: was closed meanwhile`, error);
      if (idleTimeout.signal.aborted)
        throw remoteFailure('ETIMEDOUT', true, `${subject}: nothing came for ${timeout} ms`, error);
      throw describeError(error, subject);
    } finally {
      idleTimeout.end();
    }
  }

  const version = await request(0, new Uint8Array(1), undefined);
  return {
    size: version.size,
    version: version.etag ?? version.lastModified,
    read: (into, offset) => {
      checkRange(version, offset, into.length);
      if (into.length > 0) return request(offset, into, version).then(() => undefined);
    },
    close: () => closed.abort(),
  };
}

/** An empty body, for an answer without one. */
// eslint-disable-next-line @typescript-eslint/require-await -- there is nothing to wait for
export async function* emptyBody(): AsyncGenerator<Uint8Array> {
  yield* [];
}

function checked(
  answer: RangeAnswer,
  first: number,
  length: number,
  expected: ObjectVersion | undefined,
  subject: string,
): ObjectVersion {
  const { status, etag, lastModified, contentEncoding = 'identity' } = answer;
  if (status !== PARTIAL) {
    const [code, meaning] = CODES[status] ?? ['EIO', 'the server failed'];
    throw remoteFailure(code, isTransientStatus(status), `${subject}: HTTP status ${status}: ${meaning}`);
  }
  if (contentEncoding !== 'identity')
    throw remoteFailure('ENOTSUP', false, `${subject}: is sent encoded (${contentEncoding}), so ranges mean nothing`);
  const size = sizeIn(answer.contentRange, first, length, subject);
  if (expected === undefined) {
    if (etag === undefined && lastModified === undefined)
      throw remoteFailure('ENOTSUP', false, `${subject}: neither ETag nor Last-Modified: a change would go unseen`);
    return { size, etag, lastModified };
  }
  const isSame = expected.etag === undefined ? lastModified === expected.lastModified : etag === expected.etag;
  if (isSame && size === expected.size) return expected;
  throw remoteFailure(
    'ESTALE',
    false,
    `${subject}: changed since it was opened: ${describeVersion(expected)}, now ${describeVersion({ ...answer, size })}`,
  );
}

const describeVersion = ({ etag, lastModified, size }: ObjectVersion): string =>
  `${etag ?? lastModified ?? 'no ETag'} of ${size} bytes`;

/**
 * The size of the object, from `Content-Range: bytes 0-0/1234`. @throws RemoteError if the range is not the requested
 * one
 */
function sizeIn(contentRange: string | undefined, first: number, length: number, subject: string): number {
  const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '') ?? [];
  const size = Number(total);
  if (Number(from) === first && Number(to) === first + length - 1 && Number.isSafeInteger(size)) return size;
  throw remoteFailure(
    'EIO',
    false,
    `${subject}: the answer is of another range: ${contentRange ?? 'no Content-Range'}`,
  );
}

async function readBody(
  into: Uint8Array,
  body: AsyncIterable<Uint8Array>,
  subject: string,
  progress: () => void,
): Promise<void> {
  let done = 0;
  for await (const bytes of body) {
    if (done + bytes.length > into.length)
      throw remoteFailure('EIO', false, `${subject}: the body is longer than the range`);
    into.set(bytes, done);
    done += bytes.length;
    progress();
  }
  if (done < into.length) throw remoteFailure('EIO', true, `${subject}: the body ended after ${done} bytes`);
}

/** An error that is not an answer of the server comes from the network, so it counts as transient. */
function describeError(error: unknown, subject: string): unknown {
  if (error instanceof Error && 'transient' in error) return error;
  const causes = [error, (error as Error).cause].filter((cause) => cause instanceof Error) as (Error & {
    code?: unknown;
  })[];
  const code = causes.map((cause) => cause.code).find((code) => typeof code === 'string');
  const reason = causes.map((cause) => cause.message).join(': ');
  return remoteFailure(code?.startsWith('E') === true ? code : 'EIO', true, `${subject}: ${reason}`, error);
}

/** A signal that aborts if nothing happens for `timeout` milliseconds. */
function deadline(timeout: number, closed: AbortSignal): { signal: AbortSignal; refresh: () => void; end: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeout);
  const stop = (): void => controller.abort();
  closed.addEventListener('abort', stop);
  return {
    signal: controller.signal,
    refresh: () => timer.refresh(),
    end: () => {
      clearTimeout(timer);
      closed.removeEventListener('abort', stop);
      stop(); // the rest of the body is not needed
    },
  };
}
