/**
 * Writes trees as tar archives (ustar, with pax headers for what that cannot hold).
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13
 *
 * tar-stream encodes headers and pads. Devices whose numbers its headers cannot hold, and which it would write as others,
 * are refused here.
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Headers, Pack } from 'tar-stream';
import type { Entry, Tree } from './entry.js';
import { entryPath } from './names.js';
import { extraOf, MAX_ID, MAX_TIME, shortName } from './tar-extra.js';

/** The largest number in the octal digits of a header. */
const MAX_DEVICE = 0o777777;
/** The largest numbers of an owner, and of a time in seconds, that Linux has. */
const [LAST_ID, LAST_TIME] = [2 ** 32 - 1, Number.MAX_SAFE_INTEGER];

/**
 * An archive as a stream. An error of the tree or of a content, or a RangeError for a path that is absolute or has `..`
 * or NUL in it, and for a number that the format cannot hold, ends it.
 */
export function tarStream(tree: Tree | Iterable<Entry>): Readable {
  return Readable.from(archive(tree), { objectMode: false });
}

/** Writes an archive to a file. @throws the errors of `tarStream` */
export const writeTar = (tree: Tree | Iterable<Entry>, path: string): Promise<void> =>
  pipeline(tarStream(tree), createWriteStream(path));

async function* archive(tree: Tree | Iterable<Entry>): AsyncGenerator<Uint8Array> {
  const { default: tar } = await import('tar-stream'); // loading takes time, and most starts write no archive
  const pack = tar.pack();
  const adding = addAll(pack, tree).catch((error: unknown) => {
    pack.destroy(error as Error);
    throw error;
  });
  adding.catch(() => undefined); // whoever reads has the error
  yield* pack as AsyncIterable<Uint8Array>;
  await adding;
}

async function addAll(pack: Pack, tree: Tree | Iterable<Entry>): Promise<void> {
  for await (const entry of tree) {
    await addEntry(pack, entry);
    if (isEnding(pack)) return; // nobody reads it any more
  }
  pack.finalize();
}

async function addEntry(pack: Pack, entry: Entry): Promise<void> {
  if (entry.path !== '') entryPath(entry.path);
  const extra = extraOf(entry);
  // Between two members, the archive is whole blocks. tar-stream itself writes no pax header with bytes in it.
  if (extra) pack.push(extra);
  const header = headerOf(entry, extra !== undefined);
  if (header.type !== 'file') return addEmpty(pack, header);
  const sink = pack.entry(header);
  // It gets the error that ends the archive, which the caller has.
  sink.on('error', () => undefined);
  let written = 0;
  for await (const bytes of entry.open?.() ?? []) {
    written += bytes.length;
    if (written > entry.size) break;
    if (!sink.write(Buffer.from(bytes)))
      await new Promise((resolve) => sink.once('drain', resolve).once('close', resolve));
    if (isEnding(sink)) return;
  }
  if (written !== entry.size)
    throw new RangeError(`${entry.path}: its content has not the ${entry.size} bytes it should`);
  await new Promise<void>((resolve, reject) => {
    sink.once('close', resolve).once('error', reject);
    sink.end();
  });
}

/** Of the streams of streamx: whether it has been destroyed, even if it is not closed yet. */
const isEnding = (stream: object): boolean => (stream as { destroying?: boolean }).destroying === true;

/** A member without a content. */
const addEmpty = (pack: Pack, header: Headers): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    pack.entry(header, (error) => (error ? reject(error) : resolve()));
  });

/** @param hasExtra whether a pax header has what does not fit */
function headerOf(entry: Entry, hasExtra: boolean): Headers {
  const { path, mode, uid, gid, mtime, size, link, rdev, hardLink } = entry;
  const check = (what: string, value: number, least: number, most: number): number => {
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new RangeError(`${path}: the ${what} ${value} does not fit into a tar archive`);
  };
  // What does not fit here is in the pax header.
  const short = (value: number, most: number): number => (value < 0 || value > most ? 0 : value);
  const name = path === '' ? './' : entry.type === 'directory' ? `${path}/` : path;
  const type = hardLink === undefined ? entry.type : 'link';
  const target = hardLink ?? link;
  return {
    name: hasExtra ? shortName(name) : name,
    type,
    // tar-stream would take 0 for "not said".
    mode: mode === 0 ? MODE_ZERO : mode,
    uid: short(check('owner', uid, 0, LAST_ID), MAX_ID),
    gid: short(check('group', gid, 0, LAST_ID), MAX_ID),
    mtime: new Date(short(check('time', mtime, -LAST_TIME, LAST_TIME), MAX_TIME) * 1000),
    size: type === 'file' ? size : 0,
    ...(target === undefined ? {} : { linkname: hasExtra ? shortName(target) : target }),
    ...(rdev
      ? { devmajor: check('device', rdev[0], 0, MAX_DEVICE), devminor: check('device', rdev[1], 0, MAX_DEVICE) }
      : {}),
  };
}

/** A bit beyond those that are written. */
const MODE_ZERO = 0o10000;
