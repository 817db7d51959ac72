/**
 * Writes trees as tar archives (ustar, with pax headers for long names and others than ASCII).
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13
 *
 * tar-stream encodes headers and pads. What its headers cannot hold, and it would write as another number, is refused
 * here. Not supported: reading archives, hard links.
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Headers, Pack } from 'tar-stream';
import type { Entry, Tree } from './entry.js';

/** The largest numbers in the octal digits of a header. */
const MAX = { id: 0o777777, time: 0x7fffffff, device: 0o777777 };

/** Writes an archive. @throws RangeError for a number that the format cannot hold; the errors of a content */
export async function writeTar(tree: Tree | Iterable<Entry>, path: string): Promise<void> {
  const { default: tar } = await import('tar-stream'); // loading takes time, and most starts write no archive
  const pack = tar.pack();
  const writing = pipeline(Readable.from(pack, { objectMode: false }), createWriteStream(path));
  const adding = addAll(pack, tree).catch((error: unknown) => {
    pack.destroy(error as Error);
    throw error;
  });
  await Promise.all([adding, writing]);
}

async function addAll(pack: Pack, tree: Tree | Iterable<Entry>): Promise<void> {
  for await (const entry of tree) if (entry.path !== '') await addEntry(pack, entry);
  pack.finalize();
}

async function addEntry(pack: Pack, entry: Entry): Promise<void> {
  const header = headerOf(entry);
  if (entry.type !== 'file') {
    await new Promise<void>((resolve, reject) => {
      pack.entry(header, (error) => (error ? reject(error) : resolve()));
    });
    return;
  }
  const sink = pack.entry(header);
  // It gets the error that ends the archive, which the caller has.
  sink.on('error', () => undefined);
  let written = 0;
  for await (const bytes of entry.open?.() ?? []) {
    written += bytes.length;
    if (written > entry.size) break;
    if (!sink.write(Buffer.from(bytes))) await new Promise((resolve) => sink.once('drain', resolve));
  }
  if (written !== entry.size)
    throw new RangeError(`${entry.path}: its content has not the ${entry.size} bytes it should`);
  await new Promise<void>((resolve, reject) => {
    sink.once('close', resolve).once('error', reject);
    sink.end();
  });
}

function headerOf({ path, type, mode, uid, gid, mtime, size, link, rdev }: Entry): Headers {
  const check = (name: string, value: number, most: number): number => {
    if (Number.isInteger(value) && value >= 0 && value <= most) return value;
    throw new RangeError(`${path}: the ${name} ${value} does not fit into a tar header`);
  };
  return {
    name: type === 'directory' ? `${path}/` : path,
    type,
    // tar-stream would take 0 for "not said".
    mode: mode === 0 ? MODE_ZERO : mode,
    uid: check('owner', uid, MAX.id),
    gid: check('group', gid, MAX.id),
    mtime: new Date(check('time', mtime, MAX.time) * 1000),
    size: type === 'file' ? size : 0,
    ...(link === undefined ? {} : { linkname: link }),
    ...(rdev ? { devmajor: check('device', rdev[0], MAX.device), devminor: check('device', rdev[1], MAX.device) } : {}),
  };
}

/** A bit beyond those that are written. */
const MODE_ZERO = 0o10000;
