/**
 * Reads tar archives that are not trusted: V7, ustar, pax, GNU and star's, with long names, sparse files, hard links,
 * devices and extended attributes. Names are bytes. Nothing is held in memory but a header, so an archive may have any size.
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13
 *
 * Not supported: archives of several volumes, and GNU's lists of renamed files (an error). Labels of volumes are left out.
 */
import { ByteReader, invalid } from './byte-reader.js';
import { decompressed } from './decompress.js';
import type { Entry } from './entry.js';
import { pathOf } from './names.js';
import { BLOCK, decodeHeader, textAt, type TarHeader } from './tar-header.js';
import { fieldsOf, integerOf, parsePax, timeOf, xattrsOf, type PaxFields, type PaxRecord } from './tar-pax.js';
import { partsOf, sparseOf, type TarPart } from './tar-sparse.js';

export interface TarOptions {
  /**
   * What to do with paths that are absolute or have `..` in them: `refuse` (an error), or `within`: they are taken as in a
   * root of their own, where `..` does not lead out. Default: `refuse`. `./` and `//` never matter.
   */
  readonly unsafe?: 'refuse' | 'within';
  /** Bytes of a path and of the target of a link. Default 4096 (Linux's `PATH_MAX`). */
  readonly maxPath?: number;
}

/** A member of an archive. The fields are those of `Entry`; which entry it replaces or links to is not looked at. */
export interface TarRecord extends Omit<Entry, 'type' | 'open' | 'host' | 'hardLink'> {
  /** Empty for the root. */
  readonly path: string;
  /** Of a `hard-link`, `link` is the path of the other name, and all but the path may be wrong or missing. */
  readonly type: Entry['type'] | 'hard-link';
  /** Where the data of a file are; what is between them is zeros. Sorted. */
  readonly parts: readonly TarPart[];
  /**
   * The content of a file, with its zeros, once. It ends when the next member is asked for; what was not read of it is
   * skipped.
   */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Bytes of a pax header, and of a long name. */
const MAX_HEADER = 1 << 20;
const MAX_PATH = 4096;
const ZEROS = Buffer.alloc(64 << 10);
const MAX_ID = 2 ** 32;

const TYPES: Readonly<Record<string, TarRecord['type']>> = {
  '0': 'file',
  '1': 'hard-link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file', // contiguous
  D: 'directory', // GNU's, with a list of names as its content
  S: 'file', // GNU's, sparse
};
/** Only these have content, whatever size the header has. */
const WITH_CONTENT = '07DS';

/** What headers in front of a member say about it. */
interface Ahead {
  readonly pax: PaxRecord[];
  name?: Buffer;
  link?: Buffer;
}

/**
 * The members of an archive, in their order. The archive may be compressed by gzip or zstd. It is read up to its end, or
 * ended when the caller stops.
 * @throws Error with the code EINVAL for an archive that is damaged, cut off, not safe by the options, or needs what is not
 * supported; the errors of the stream
 */
export async function* readTar(stream: AsyncIterable<Uint8Array>, options: TarOptions = {}): AsyncGenerator<TarRecord> {
  const reader = new ByteReader(decompressed(stream));
  const global = new Map<string, Buffer>();
  let ahead: Ahead = { pax: [] };
  try {
    for (let block = await nextHeader(reader); block; block = await nextHeader(reader)) {
      const header = decodeHeader(block);
      const take = HEADERS[header.kind];
      if (take) {
        take(await bodyOf(reader, header), ahead, global);
        continue;
      }
      yield* member(reader, header, block, ahead, fieldsOf(global, ahead.pax), options);
      ahead = { pax: [] };
    }
    if (ahead.pax.length > 0 || ahead.name || ahead.link)
      throw invalid('tar: the archive ends behind a header for a member');
    // So that a stream that somebody hashes is whole.
    await reader.skip(Infinity);
  } finally {
    await reader.close();
  }
}

/** Members that say something about others. */
const HEADERS: Readonly<Record<string, (body: Buffer, ahead: Ahead, global: Map<string, Buffer>) => void>> = {
  x: (body, ahead) => void ahead.pax.push(...parsePax(body)),
  X: (body, ahead) => void ahead.pax.push(...parsePax(body)), // Solaris
  g: (body, _, global) => {
    for (const [key, value] of parsePax(body)) {
      if (value.length === 0) global.delete(key);
      else if (key.startsWith('GNU.sparse.')) throw invalid('tar: a global header about a sparse file');
      else global.set(key, Buffer.from(value));
      if (global.size > MAX_GLOBAL) throw invalid(`tar: global headers with more than ${MAX_GLOBAL} keys`);
    }
  },
  L: (body, ahead) => void (ahead.name = textAt(body, 0, body.length)),
  K: (body, ahead) => void (ahead.link = textAt(body, 0, body.length)),
  V: () => undefined,
};
const MAX_GLOBAL = 1000;

/** The next block that is no zeros; undefined at the end. */
async function nextHeader(reader: ByteReader): Promise<Buffer | undefined> {
  const block = await reader.read(BLOCK);
  if (block.length === 0) return undefined;
  if (block.length < BLOCK) throw invalid(`tar: the archive ends within a header, at byte ${reader.position}`);
  if (!isZero(block)) return block;
  const second = await reader.read(BLOCK);
  if (!isZero(second)) throw invalid(`tar: something follows the end of the archive, before byte ${reader.position}`);
  return undefined;
}

const isZero = (bytes: Buffer): boolean => bytes.equals(ZEROS.subarray(0, bytes.length));

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

async function bodyOf(reader: ByteReader, { kind, size }: TarHeader): Promise<Buffer> {
  if (size < 0 || size > MAX_HEADER)
    throw invalid(`tar: a header (${kind}) of ${size} bytes: ${MAX_HEADER} are the most`);
  const body = await reader.read(size + padding(size));
  if (body.length < size) throw invalid('tar: the archive ends within a header');
  return body.subarray(0, size);
}

async function* member(
  reader: ByteReader,
  header: TarHeader,
  block: Buffer,
  ahead: Ahead,
  pax: PaxFields,
  options: TarOptions,
): AsyncGenerator<TarRecord> {
  const { records } = pax;
  const rawName = records.get('GNU.sparse.name') ?? records.get('path') ?? ahead.name ?? header.name;
  const path = pathIn(rawName, options, 'a member');
  const type = typeOf(header, rawName, path);
  if (path === '' && type !== 'directory') throw invalid(`tar: the root is a ${type}, and not a folder`);
  const stored = storedSize(header, records, path);
  const sparse = await sparseOf(header, block, pax, reader);
  const at = reader.position;
  const data = stored - (sparse?.read ?? 0);
  if (data < 0) throw invalid(`tar: ${JSON.stringify(path)} is shorter than the map of its parts`);
  const isFile = type === 'file';
  const size = isFile ? (sparse?.size ?? data) : 0;
  const whole = data > 0 ? [{ offset: 0, length: data, at }] : [];
  const parts = !isFile ? [] : sparse ? partsOf(sparse, at, data) : whole;
  const xattrs = xattrsOf(records);
  const isEnded = { value: false };
  yield {
    path,
    type,
    mode: header.mode,
    uid: idOf('uid', records, header.uid),
    gid: idOf('gid', records, header.gid),
    ...(records.has('mtime') ? timeOf('mtime', records.get('mtime') ?? Buffer.alloc(0)) : { mtime: header.mtime }),
    size,
    ...linkOf(type, records.get('linkpath') ?? ahead.link ?? header.link, options, path),
    ...(type.endsWith('device') && { rdev: header.rdev }),
    ...(xattrs && { xattrs }),
    parts,
    content: contentOf(reader, path, size, parts, isEnded),
  };
  isEnded.value = true;
  const left = at + data + padding(stored) - reader.position;
  if ((await reader.skip(left)) < left - padding(stored))
    throw invalid(`tar: the archive ends within ${JSON.stringify(path)}`);
}

async function* contentOf(
  reader: ByteReader,
  path: string,
  size: number,
  parts: readonly TarPart[],
  isEnded: { readonly value: boolean },
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for (const { offset, length, at } of [...parts, { offset: size, length: 0, at: reader.position }]) {
    for (; done < offset; done = Math.min(offset, done + ZEROS.length)) yield ZEROS.subarray(0, offset - done);
    for (const end = offset + length; done < end;) {
      if (isEnded.value || reader.position !== at + done - offset)
        throw new Error(`tar: ${path}: the content can be read once, before the next member`);
      const bytes = await reader.take(end - done);
      if (!bytes) throw invalid(`tar: the archive ends within ${JSON.stringify(path)}`);
      done += bytes.length;
      yield bytes;
    }
  }
}

/** @throws Error with the code EINVAL for kinds that are not known or not supported */
function typeOf({ kind }: TarHeader, name: Buffer, path: string): TarRecord['type'] {
  const type = TYPES[kind];
  if (!type)
    throw invalid(`tar: ${JSON.stringify(path)} is of the kind ${JSON.stringify(kind)}, which is not supported`);
  // V7 has no folders but by their names.
  return kind === '0' && name.at(-1) === 0x2f ? 'directory' : type;
}

/** Bytes that the archive has of a member. */
function storedSize(header: TarHeader, records: ReadonlyMap<string, Buffer>, path: string): number {
  if (!WITH_CONTENT.includes(header.kind)) return 0;
  const text = records.get('size');
  const size = text ? integerOf('size', text) : header.size;
  if (size < 0) throw invalid(`tar: ${JSON.stringify(path)} has ${size} bytes`);
  return size;
}

/** Negative numbers are the upper half of what the kernel has. */
function idOf(key: string, records: ReadonlyMap<string, Buffer>, fallback: number): number {
  const text = records.get(key);
  const id = text ? integerOf(key, text) : fallback;
  if (id >= MAX_ID || id < -MAX_ID / 2) throw invalid(`tar: the ${key} ${id} is none`);
  return id < 0 ? id + MAX_ID : id;
}

function linkOf(type: TarRecord['type'], bytes: Buffer, options: TarOptions, path: string): { readonly link?: string } {
  if (type === 'hard-link') return { link: pathIn(bytes, options, 'the other name of a hard link') };
  if (type !== 'symlink') return {};
  if (bytes.length === 0 || bytes.includes(0) || bytes.length > (options.maxPath ?? MAX_PATH))
    throw invalid(`tar: ${JSON.stringify(path)} is a link whose target has ${bytes.length} bytes, or NUL`);
  return { link: pathOf(bytes) };
}

/** @throws Error with the code EINVAL for a path that is not safe by the options */
function pathIn(bytes: Buffer, { unsafe = 'refuse', maxPath = MAX_PATH }: TarOptions, what: string): string {
  const path = pathOf(bytes);
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  if (bytes.length === 0 || bytes.includes(0)) throw invalid(`tar: ${what} has the path ${shown}`);
  if (bytes.length > maxPath)
    throw invalid(`tar: ${what} has a path of ${bytes.length} bytes: ${maxPath} are the most`);
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (unsafe === 'refuse' && name === '..')
      throw invalid(`tar: ${what} has the path ${shown}, which may lead out of the root`);
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  if (unsafe === 'refuse' && path.startsWith('/'))
    throw invalid(`tar: ${what} has the path ${shown}, which is absolute`);
  return names.join('/');
}
