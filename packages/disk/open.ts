/** Opens a SOURCE of the command line. Only this module knows which words open what. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cache, file, http, memory, readAhead, retry, s3, type BlockBackend } from '@nodeos/block';
import { parseSize, messageOf, NodeosError, UsageError } from '@nodeos/base';
import { connectNbd, RefusedError, type NbdBackend } from '@nodeos/nbd';
import { hintFrom, type Hints } from './hints.js';
import { canBeWrittenThrough, LAYER_FORMS, openLayers, parseLayers } from './layers.js';

export interface OpenOptions {
  /**
   * Whether the source will be written. If not, it is opened for reading only, if that makes a difference. Default
   * false.
   */
  readonly write?: boolean;
  /** With `write`: a block device of this machine is opened only if nothing else uses it. Default false. */
  readonly exclusive?: boolean;
  /** Whether small pieces will be read repeatedly: remote sources are cached in memory. Default false. */
  readonly cached?: boolean;
  /** Most connections to an NBD server. */
  readonly connections?: number;
  /** Most requests under way on each connection. */
  readonly requests?: number;
  /** For an NBD server: a flush fails if the server may have lost earlier writes. Default false. */
  readonly strictFlush?: boolean;
  /** For a container's image: bytes that have come, of how many. It is fetched before it is opened, unless it is in the cache. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

interface Scheme {
  /** The syntax, for the help and for messages. */
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
  open: (uri, { connections, requests, signal, strictFlush = false }) =>
    connectNbd(uri, {
      strictFlush,
      ...(signal && { signal }),
      ...(connections === undefined ? {} : { connections }),
      ...(requests === undefined ? {} : { inFlight: requests }),
    }),
};

const localFile: Scheme = {
  form: 'a file or a block device',
  writable: true,
  async open(text, { write = false, exclusive = false }) {
    const path = pathOf(text);
    const kind = await stat(path);
    // Check before opening: opening a pipe would wait for its other end.
    if (!kind.isFile() && !kind.isBlockDevice()) throw new Error('it is neither a file nor a block device');
    return file(path, { readOnly: !write, exclusive });
  },
};

/** An image in a store of chunks. Its key file and a folder for its chunks are in the environment. */
const store: Scheme = {
  form: 'store:STORE:NAME',
  writable: false,
  async open(text) {
    const { openReference, readKeys } = await import('@nodeos/store');
    const { NODEOS_STORE_KEY: key, NODEOS_STORE_CACHE: folder } = process.env;
    return openReference(text.slice('store:'.length), {
      ...(key && { tenant: (await readKeys(key)).tenant }),
      ...(folder && { cache: { folder, most: 10 * 2 ** 30 } }),
    });
  },
};

/** All files of a container's image, as EROFS. */
const containerImage: Scheme = {
  form: 'docker://[HOST/]NAME[:TAG][@DIGEST], oci:FOLDER[:NAME], oci-archive:FILE, docker-archive:FILE',
  writable: false,
  async open(text, options) {
    const { openImageDisk } = await import('./container-image.js');
    return openImageDisk(text, options);
  },
};

/** Schemes by the text before the first colon, in lower case. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  file: localFile,
  http: remote('http://… or https://…', http),
  https: remote('http://… or https://…', http),
  s3: remote('s3://BUCKET/KEY', s3),
  store,
  docker: containerImage,
  oci: containerImage,
  'oci-archive': containerImage,
  'docker-archive': containerImage,
  nbd,
  nbds: nbd,
  'nbd+unix': nbd,
  'nbds+unix': nbd,
  memory: {
    form: 'memory:SIZE',
    writable: true,
    open: (text) => memory(parseSize(text.slice('memory:'.length), 'memory:')),
  },
};

/** @throws UsageError for an unknown scheme. A name with a colon is a file unless it looks like a URL */
function schemeOf(text: string): Scheme {
  if (text === '') throw new UsageError('an empty name is no source', { hint: `a source is ${FORMS}` });
  const [, given = '', slashes] = /^([a-z][a-z0-9+.-]*):(\/\/)?/i.exec(text) ?? [];
  const name = given.toLowerCase();
  const scheme = Object.hasOwn(SCHEMES, name) ? SCHEMES[name] : undefined;
  if (scheme) return scheme;
  if (slashes === undefined) return localFile;
  throw new UsageError(`${text}: nothing is known of ${name}://`, { hint: `a source is ${FORMS}` });
}

const FORMS = [...new Set(Object.values(SCHEMES).map(({ form }) => form)), ...LAYER_FORMS].join(', ');

/** Whether a source of this kind can be written at all. @throws UsageError as `openSource` */
export function canBeWritten(text: string): boolean {
  const { layers, source } = parseLayers(text);
  return canBeWrittenThrough(layers) && schemeOf(source).writable;
}

/** Whether it is a container's image. @throws UsageError as `openSource` */
export const isContainerImage = (text: string): boolean => schemeOf(parseLayers(text).source) === containerImage;

/** The path of a file or block device of this machine; undefined for any other source, including a partition of one. */
export function localPath(text: string): string | undefined {
  return parseLayers(text).layers.length === 0 ? pathBelow(text) : undefined;
}

/** The path of the file or block device of this machine that contains the source, if there is one. */
export function pathBelow(text: string): string | undefined {
  const { source } = parseLayers(text);
  return schemeOf(source) === localFile ? pathOf(source) : undefined;
}

function pathOf(text: string): string {
  const [, path, slashes] = /^file:((\/\/)?.*)$/is.exec(text) ?? [text, text];
  return slashes === undefined ? path : fileURLToPath(text);
}

/**
 * Opens a source.
 * @throws UsageError if the text is not a valid source, or is a kind of source that can never be written although
 * `write` is set; NodeosError that says why the source cannot be opened now
 */
export async function openSource(text: string, options: OpenOptions = {}): Promise<BlockBackend> {
  const { layers, source } = parseLayers(text);
  const scheme = schemeOf(source);
  if (options.write && !canBeWritten(text))
    throw new UsageError(`${text}: cannot be written`, {
      hint: 'what can be: files, block devices, NBD exports, and partitions of them',
    });
  try {
    // Formats read small pieces.
    const bottom = await scheme.open(source, layers.length > 0 ? { ...options, cached: true } : options);
    return layers.length === 0 ? bottom : withMayBeLost(await openLayers(layers, bottom), bottom);
  } catch (error) {
    if (error instanceof NodeosError) throw error;
    if (error instanceof TypeError || error instanceof RangeError)
      throw new UsageError(error.message, { cause: error });
    options.signal?.throwIfAborted();
    throw new NodeosError(`cannot open ${text}: ${messageOf(error)}`, {
      ...hintFor(error, text, options),
      cause: error,
    });
  }
}

/** Writes to a part of an NBD export may be lost in the same way as writes to the export. */
const withMayBeLost = (
  device: BlockBackend,
  bottom: BlockBackend & Partial<Pick<NbdBackend, 'mayBeLost'>>,
): BlockBackend => Object.defineProperty(device, 'mayBeLost', { get: () => bottom.mayBeLost });

const HINTS: Hints = {
  ENOENT: 'is its name right?',
  EACCES: 'ask who owns it',
  EROFS: 'it is on a filesystem, or of a device, that is read-only',
  ECONNREFUSED: 'nobody listens there: is the server running?',
  ENOTFOUND: 'this host name is not known here',
};

/** For the socket of a server; files that its URI names have the normal hints. */
const SOCKET_HINTS: Hints = { ...HINTS, ENOENT: 'no server has made this socket' };

const READ_ONLY = 'to be read, nodeos nbd serve and attach take it with --read-only';

/** For a source that is opened for writing. */
const WRITE_HINTS: Hints = { ...HINTS, EACCES: READ_ONLY, EROFS: READ_ONLY };

/** A hint for the user about an error while opening `text`. */
export function hintFor(error: unknown, text: string, { write = false }: OpenOptions = {}): { hint?: string } {
  if (error instanceof RefusedError) return refusalHint(error, text);
  const isSocket = (error as NodeJS.ErrnoException).syscall === 'connect';
  return hintFrom(isSocket ? SOCKET_HINTS : write ? WRITE_HINTS : HINTS, error);
}

function refusalHint({ wantsTls, isOfList }: RefusedError, text: string): { hint?: string } {
  if (wantsTls) return { hint: 'it speaks with TLS only: nbds://' };
  return isOfList ? {} : { hint: `nodeos nbd list ${text} says what the server has` };
}

/** The default name of an export of the source: the last part of its name. */
export function nameOf(text: string): string {
  const { layers, source } = parseLayers(text);
  const member = layers.find(({ kind }) => kind === 'tar');
  const path = member?.argument ?? pathBelow(text);
  if (path !== undefined) return basename(path);
  return URL.canParse(source) ? decodeURIComponent(basename(new URL(source).pathname)) : source;
}
