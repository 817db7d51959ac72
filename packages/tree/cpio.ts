/**
 * Writes trees as cpio archives in the "newc" format, which Linux unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source).
 *
 * cpio-stream does the streaming and the padding of entries. Its padding of the last block is switched off, because it
 * miscounts: if an archive does not end at a multiple of four, the next archive is lost ("broken padding"). Its encoder
 * is replaced, because it differs from the format in three ways: it counts a name in UTF-16 units instead of bytes,
 * which breaks an archive after the first name that is not ASCII; it writes the current time instead of 0; and it
 * writes numbers that do not fit as the largest number, instead of failing.
 *
 * Not supported: reading archives. Hard links become copies; extended attributes and nanoseconds are dropped, which the
 * format does not have.
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Header, Pack } from 'cpio-stream';
import { modeOf, type Entry, type Tree } from './entry.js';
import { entryPath, pathBytes } from './names.js';

const HEADER_SIZE = 110;
const MAX_NAME = 4096; // the kernel's PATH_MAX

/** What the header of a file says. The published types cannot name cpio-stream, which has none. */
export interface CpioHeader {
  name: string;
  ino?: number;
  mode?: number;
  uid?: number;
  gid?: number;
  nlink?: number;
  mtime?: Date;
  size?: number;
  rdevmajor?: number;
  rdevminor?: number;
}

/**
 * Writes an archive.
 * @throws RangeError for a path that is absolute or has `..` or NUL in it, and for a name or a number that the format cannot hold
 */
export async function writeCpio(tree: Tree | Iterable<Entry>, path: string): Promise<void> {
  const { default: cpio } = await import('cpio-stream'); // loading takes time, and most starts write no archive
  const pack = cpio.pack({ format: 'newc' });
  pack._encode = encodeHeader;
  pack.padding = 0;
  const writing = pipeline(pack, createWriteStream(path));
  const adding = addAll(pack, tree).catch((error: unknown) => {
    pack.destroy();
    throw error;
  });
  await Promise.all([adding, writing]);
}

async function addAll(pack: Pack, tree: Tree | Iterable<Entry>): Promise<void> {
  for await (const entry of tree) await addEntry(pack, entry);
  pack.finalize();
}

function addEntry(pack: Pack, entry: Entry): Promise<void> {
  const isRoot = entry.path === '' && entry.type === 'directory';
  if (!isRoot) entryPath(entry.path);
  const header: Header = {
    name: isRoot ? '.' : entry.path,
    mode: modeOf(entry),
    uid: entry.uid,
    gid: entry.gid,
    mtime: new Date(entry.mtime * 1000),
    size: entry.size,
    nlink: 1,
    rdevmajor: entry.rdev?.[0] ?? 0,
    rdevminor: entry.rdev?.[1] ?? 0,
  };
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new Error(`${entry.path}: ${error.message}`, { cause: error }));
    const done = (error?: Error | null): void => (error ? fail(error) : resolve());
    if (entry.type !== 'file') {
      pack.entry(header, entry.link === undefined ? Buffer.alloc(0) : pathBytes(entry.link), done);
      return;
    }
    const sink = pack.entry(header, done);
    pipeline(Readable.from(contentOf(entry, fail)), sink).catch(fail);
  });
}

/** Keeps the original error: cpio-stream would only report that the content ended too early. */
async function* contentOf(entry: Entry, fail: (error: Error) => void): AsyncIterable<Uint8Array> {
  try {
    yield* entry.open?.() ?? [];
  } catch (error) {
    fail(error as Error);
    throw error;
  }
}

/**
 * A newc header: the magic number, thirteen numbers of eight hexadecimal digits, and the name; padded to a multiple of
 * four bytes.
 */
export function encodeHeader(header: CpioHeader): Buffer {
  const name = Buffer.concat([pathBytes(header.name), Buffer.of(0)]);
  if (name.length > MAX_NAME) throw new RangeError(`${header.name}: the name is longer than ${MAX_NAME} bytes`);
  const mtime = header.mtime instanceof Date ? header.mtime.getTime() / 1000 : 0;
  const numbers = [
    header.ino ?? 0,
    header.mode ?? 0,
    header.uid ?? 0,
    header.gid ?? 0,
    header.nlink ?? 1,
    mtime,
    header.size ?? 0,
    0, // the device that the file was on: always 0
    0,
    header.rdevmajor ?? 0,
    header.rdevminor ?? 0,
    name.length,
    0, // checksum: only used by the "crc" format
  ];
  const text = '070701' + numbers.map((number) => hex(header.name, number)).join('');
  const padding = (4 - ((HEADER_SIZE + name.length) % 4)) % 4;
  return Buffer.concat([Buffer.from(text, 'latin1'), name, Buffer.alloc(padding)]);
}

function hex(name: string, number: number): string {
  if (!Number.isInteger(number) || number < 0 || number > 0xffffffff) {
    throw new RangeError(`${name}: ${number} does not fit into a cpio header`);
  }
  return number.toString(16).toUpperCase().padStart(8, '0');
}
