/** Describes a disk and its capabilities, with the field names of `nbdinfo --json`. */
import type { BlockBackend } from '@nodeos/block';
import { messageOf, NodeosError, formatSize, UsageError } from '@nodeos/base';
import {
  connectNbd,
  FLAG,
  Handshake,
  isNbdUri,
  parseUri,
  RefusedError,
  tlsOf,
  type ExportInfo,
  type NbdUri,
} from '@nodeos/nbd';
import { hintFor, nameOf, openSource } from './open.js';

export interface Description {
  readonly 'export-name': string;
  readonly description?: string;
  readonly uri?: string;
  readonly contexts?: readonly string[];
  readonly is_read_only?: boolean;
  readonly [able: `can_${string}`]: boolean;
  readonly block_size_minimum?: number;
  readonly block_size_preferred?: number;
  readonly block_size_maximum?: number;
  readonly 'export-size': number;
  readonly 'export-size-str': string;
}

export interface Server {
  readonly protocol: 'oldstyle' | 'newstyle' | 'newstyle-fixed';
  readonly TLS: boolean;
  readonly structured: boolean;
  readonly extended: boolean;
}

/**
 * Opens a connection without choosing an export, runs `work`, then closes it.
 * @throws UsageError if `text` is not an NBD URI
 * @throws NodeosError if the connection or `work` fails
 */
export async function withHandshake<T>(
  text: string,
  signal: AbortSignal,
  work: (handshake: Handshake, uri: NbdUri) => Promise<T>,
): Promise<T> {
  const uri = uriOf(text);
  try {
    const handshake = await Handshake.begin(uri, uri.tls ? await tlsOf(uri) : {}, {}, signal);
    try {
      return await work(handshake, uri);
    } finally {
      handshake.disconnect();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new NodeosError(`cannot ask ${text}: ${messageOf(error)}`, { ...hintFor(error, text), cause: error });
  }
}

function uriOf(text: string): NbdUri {
  if (!isNbdUri(text)) throw new UsageError(`${text}: expected a server, such as nbd://10.0.0.2`);
  try {
    return parseUri(text);
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error });
  }
}

export const serverOf = ({ mode, tls, hasOptions }: Pick<Handshake, 'mode' | 'tls' | 'hasOptions'>): Server => ({
  protocol: mode === 'oldstyle' ? 'oldstyle' : hasOptions ? 'newstyle-fixed' : 'newstyle',
  TLS: tls,
  structured: mode === 'structured' || mode === 'extended',
  extended: mode === 'extended',
});

export function describeExport(info: ExportInfo, uri: string): Description {
  const can = (flag: number): boolean => (info.flags & flag) !== 0;
  const { minimum, preferred, maximum } = info.sizes;
  return {
    'export-name': info.name,
    ...(info.description === undefined ? {} : { description: info.description }),
    uri,
    contexts: info.contexts,
    is_read_only: can(FLAG.READ_ONLY),
    can_cache: can(FLAG.SEND_CACHE),
    can_fast_zero: can(FLAG.SEND_FAST_ZERO),
    can_flush: can(FLAG.SEND_FLUSH),
    can_fua: can(FLAG.SEND_FUA),
    can_multi_conn: can(FLAG.CAN_MULTI_CONN),
    can_resize: can(FLAG.SEND_RESIZE),
    can_trim: can(FLAG.SEND_TRIM),
    can_zero: can(FLAG.SEND_WRITE_ZEROES),
    block_size_minimum: minimum,
    block_size_preferred: preferred,
    block_size_maximum: maximum,
    ...sizeOf(info.size),
  };
}

/** @throws RefusedError if the export does not exist */
export async function describeRemote(
  handshake: Handshake,
  uri: NbdUri,
  text: string,
  signal: AbortSignal,
): Promise<Description> {
  if (!handshake.hasOptions) return describeOpened(text, signal);
  return handshake.getInfo(uri.export).then(
    (info) => describeExport(info, text),
    (error: unknown) => {
      if (error instanceof RefusedError && error.isUnknownOption) return describeOpened(text, signal);
      throw error;
    },
  );
}

/** Old servers describe an export only when it is opened. */
async function describeOpened(text: string, signal: AbortSignal): Promise<Description> {
  const backend = await connectNbd(text, { connections: 1, reconnectTimeout: 0, signal });
  await backend.close();
  return describeExport(backend.info, text);
}

export async function describeSource(text: string, signal: AbortSignal): Promise<Description> {
  const source = await openSource(text, { signal });
  await source.close();
  return describeBackend(source, nameOf(text));
}

const describeBackend = (source: BlockBackend, name: string): Description => ({
  'export-name': name,
  can_extents: source.extents !== undefined,
  ...sizeOf(source.size),
});

const sizeOf = (bytes: number): Pick<Description, 'export-size' | 'export-size-str'> => ({
  'export-size': bytes,
  'export-size-str': formatSize(bytes),
});
