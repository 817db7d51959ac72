/** Streams of bytes that may be compressed: gzip of any number of members, and zstd of any number of frames. */
import { Readable, pipeline, type Transform } from 'node:stream';
import zlib, { createGunzip } from 'node:zlib';
import { ByteReader, invalid } from './byte-reader.js';
import { unzstd } from './unzstd.js';

/** How a format starts, and what unpacks it. The first one that matches counts. */
const FORMATS: readonly {
  readonly name: string;
  readonly matches: (start: Buffer) => boolean;
  readonly unpack?: (packed: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
}[] = [
  { name: 'gzip', matches: startsWith('1f8b'), unpack: (packed) => through(packed, createGunzip(), 'gzip') },
  { name: 'zstd', matches: isZstd, unpack: zstd },
  { name: 'xz', matches: startsWith('fd377a585a00') },
  { name: 'bzip2', matches: startsWith('425a68') },
];

/**
 * Unpacks a stream if it is compressed, and passes it on if it is not. Memory does not depend on its length.
 * @throws Error with the code EINVAL for a stream that is damaged or cut off, and for zstd that needs a window above
 * 128 MiB; ENOTSUP for xz and bzip2; the errors of the stream
 */
export async function* decompressed(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(stream);
  try {
    const start = await reader.peek(6);
    const format = FORMATS.find(({ matches }) => matches(start));
    if (format && !format.unpack) throw unsupported(format.name);
    yield* format?.unpack?.(reader.rest()) ?? reader.rest();
  } finally {
    await reader.close();
  }
}

const unsupported = (name: string): Error =>
  Object.assign(new Error(`this is ${name}, which is not supported: unpack it first`), { code: 'ENOTSUP' });

function startsWith(hex: string): (start: Buffer) => boolean {
  const magic = Buffer.from(hex, 'hex');
  return (start) => start.subarray(0, magic.length).equals(magic);
}

/** A frame, or a skippable one in front. */
function isZstd(start: Buffer): boolean {
  if (start.length < 4) return false;
  const magic = start.readUInt32LE(0);
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50;
}

/** What newer versions of Node.js have. */
const { createZstdDecompress } = zlib as unknown as { createZstdDecompress?: () => Transform };

/** Node.js 22 and 24 read the first frame of a piece, and leave out the others without an error. */
const readsAllFrames = Number(process.versions.node.split('.')[0]) >= 26;

/** What Node.js says of zstd, in the words of unzstd.ts. */
const ZSTD_WORDS: Readonly<Record<string, string>> = {
  Z_BUF_ERROR: 'the stream ends within a frame',
  ZSTD_error_frameParameter_windowTooLarge: 'the stream needs more than 128 MiB',
};

function zstd(packed: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return createZstdDecompress && readsAllFrames
    ? through(packed, createZstdDecompress(), 'zstd', ZSTD_WORDS)
    : unzstd(packed);
}

async function* through(
  packed: AsyncIterable<Uint8Array>,
  unpacking: Transform,
  name: string,
  words: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  // Its errors reach whoever reads.
  pipeline(Readable.from(packed, { objectMode: false }), unpacking, () => undefined);
  try {
    yield* unpacking as AsyncIterable<Uint8Array>;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code?.startsWith('Z') ? invalid(`${name}: ${words[code] ?? message}`) : error;
  }
}
