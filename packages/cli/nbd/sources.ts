/** What the command line calls a SOURCE: the one place that knows which words open what. */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cache, file, http, memory, readAhead, retry, s3, type BlockBackend } from '@nodeos/block';
import { messageOf, NodeosError, UsageError } from '@nodeos/build';
import { connectNbd, RefusedError } from '@nodeos/nbd';
import { bytesOf } from './bytes.js';
import { hintFrom, type Hints } from './hints.js';

export interface OpenOptions {
  /** It will be written. Otherwise it is opened for reading, where that makes a difference. */
  readonly write?: boolean;
  /** It will be read in small pieces, and again: what is far away is kept in memory for a while. */
  readonly cached?: boolean;
  /** Connections to an NBD server. */
  readonly connections?: number;
  /** Requests under way on each of them. */
  readonly requests?: number;
  readonly signal?: AbortSignal;
}

interface Scheme {
  /** For the help and for messages. */
  readonly form: string;
  readonly writable: boolean;
  open(text: string, options: OpenOptions): Promise<BlockBackend> | BlockBackend;
}

const remote = (form: string, open: (text: string) => Promise<BlockBackend>): Scheme => ({
  form,
  writable: false,
  async open(text, { cached = false, signal }) {
    const device = retry(await open(text), signal ? { signal } : {});
    return cached ? readAhead(cache(device)) : device;
  },
});

const nbd: Scheme = {
  form: 'nbd://HOST[:PORT]/EXPORT, nbds://…, nbd+unix:///EXPORT?socket=PATH, nbds+unix://…',
  writable: true,
  open: (uri, { connections, requests, signal }) =>
    connectNbd(uri, {
      ...(signal && { signal }),
      ...(connections === undefined ? {} : { connections }),
      ...(requests === undefined ? {} : { inFlight: requests }),
    }),
};

const plain: Scheme = {
  form: 'a file or a block device',
  writable: true,
  open: (text, { write = false }) => file(text.startsWith('file:') ? pathOf(text) : text, { readOnly: !write }),
};

/** By what stands before the first colon. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  file: plain,
  http: remote('http://… or https://…', http),
  https: remote('http://… or https://…', http),
  s3: remote('s3://BUCKET/KEY', s3),
  nbd,
  nbds: nbd,
  'nbd+unix': nbd,
  'nbds+unix': nbd,
  memory: {
    form: 'memory:SIZE',
    writable: true,
    open: (text) => memory(bytesOf(text.slice('memory:'.length), 'memory:')),
  },
};

/** @throws UsageError for a scheme that nobody knows; a name with a colon in it is a file unless it looks like a URL */
function schemeOf(text: string): Scheme {
  if (text === '') throw new UsageError('an empty name is no source', { hint: `a source is ${FORMS}` });
  const [, name = '', slashes] = /^([a-z][a-z0-9+.-]*):(\/\/)?/.exec(text) ?? [];
  const scheme = Object.hasOwn(SCHEMES, name) ? SCHEMES[name] : undefined;
  if (scheme) return scheme;
  if (slashes === undefined) return plain;
  throw new UsageError(`${text}: nothing is known of ${name}://`, { hint: `a source is ${FORMS}` });
}

const FORMS = [...new Set(Object.values(SCHEMES).map(({ form }) => form))].join(', ');

/** Whether a source of this kind can ever be written. @throws UsageError as `openSource` */
export const canBeWritten = (text: string): boolean => schemeOf(text).writable;

/** The path of what is a file or a device of this machine; undefined for everything else. */
export function localPath(text: string): string | undefined {
  if (schemeOf(text) !== plain) return undefined;
  return text.startsWith('file:') ? pathOf(text) : text;
}

function pathOf(text: string): string {
  return text.startsWith('file://') ? fileURLToPath(text) : text.slice('file:'.length);
}

/**
 * @throws UsageError if the text names nothing that can be opened, or is to be written and never can; NodeosError that says
 * why it cannot be opened now
 */
export async function openSource(text: string, options: OpenOptions = {}): Promise<BlockBackend> {
  const scheme = schemeOf(text);
  if (options.write && !scheme.writable)
    throw new UsageError(`${text}: cannot be written`, { hint: 'what can be: files, block devices, NBD exports' });
  try {
    return await scheme.open(text, options);
  } catch (error) {
    if (error instanceof NodeosError) throw error;
    if (error instanceof TypeError || error instanceof RangeError)
      throw new UsageError(error.message, { cause: error });
    options.signal?.throwIfAborted();
    throw new NodeosError(`cannot open ${text}: ${messageOf(error)}`, { ...hintFor(error, text), cause: error });
  }
}

const hintsOf = (text: string): Hints => ({
  ENOENT: text.startsWith('nbd') ? 'no server has made this socket' : 'is its name right?',
  EACCES: 'it can be read with --read-only, perhaps; or ask who owns it',
  EROFS: 'it is on a read-only filesystem: --read-only',
  ECONNREFUSED: 'nobody listens there: is the server running?',
  EISDIR: 'a folder has no bytes: a source is a file or a block device',
  ENOTFOUND: 'this host name is not known here',
});

/** What the user can do about it. */
export function hintFor(error: unknown, text: string): { hint?: string } {
  if (error instanceof RefusedError) return { hint: `nodeos nbd list ${text} says what the server has` };
  return hintFrom(hintsOf(text), error);
}

/** How an export of the source is called: by the last part of its name. */
export function nameOf(text: string): string {
  const path = localPath(text);
  if (path !== undefined) return basename(path);
  return URL.canParse(text) ? decodeURIComponent(basename(new URL(text).pathname)) : text;
}
