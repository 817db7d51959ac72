/**
 * zstd: one pinned encoder, and the fastest decoder that is there.
 *
 * The id of a chunk is the checksum of its stored bytes, so every machine must compress to the same bytes: zstd 1.5.7,
 * level 3, one frame. `@bokuweb/zstd-wasm` is that version as WebAssembly. Node.js has zstd of its own from 22.15 on;
 * where that is the same version it gives the same bytes, and is faster.
 */
import * as zlib from 'node:zlib';
import { failure } from '@nodeos/block';
import { unpackedBound } from './frame.js';

/** The version whose bytes are the format. */
export const ZSTD_VERSION = '1.5.7';

/** Answers at once, or later from another thread. */
export type Codec = (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** What is used of Node.js' own zstd, which the types of Node.js 20 do not have. */
interface OwnZstd {
  readonly zstdCompressSync?: (bytes: Uint8Array, options: object) => Buffer;
  readonly zstdDecompress?: (
    bytes: Uint8Array,
    options: object,
    done: (error: Error | null, unpacked: Buffer) => void,
  ) => void;
}
const own = zlib as unknown as OwnZstd;
const COMPRESSION_LEVEL = 100; // ZSTD_c_compressionLevel

interface Wasm {
  readonly compress: (bytes: Uint8Array, level: number) => Uint8Array;
  readonly decompress: (bytes: Uint8Array, options: { readonly defaultHeapSize: number }) => Uint8Array;
}
let loaded: Promise<Wasm> | undefined;
const wasm = (): Promise<Wasm> => (loaded ??= loadWasm());

const NO_DICTIONARY = new Uint8Array(0);

/** Its `compress` makes a context, with tables of up to some MiB, for each call. One that is used again gives the same bytes. */
async function loadWasm(): Promise<Wasm> {
  const { init, createCCtx, compressUsingDict, decompress } = await import('@bokuweb/zstd-wasm');
  await init();
  const context = createCCtx();
  return { compress: (bytes, level) => compressUsingDict(context, bytes, NO_DICTIONARY, level), decompress };
}

/** @param level of zstd: the bytes of two levels differ */
export async function zstdEncoder(level: number, name: EncoderName = fastestEncoder()): Promise<Codec> {
  const { zstdCompressSync } = own;
  if (name === 'node' && zstdCompressSync) {
    const params = { [COMPRESSION_LEVEL]: level };
    return (bytes) =>
      zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length, chunkSize: compressBound(bytes.length) });
  }
  const { compress } = await wasm();
  return (bytes) => compress(bytes, level);
}

/** ZSTD_COMPRESSBOUND, and a little more. With less room zstd works piece by piece, which gives other bytes. */
const compressBound = (length: number): number => length + (length >>> 8) + 128;

export type EncoderName = 'node' | 'wasm';

/** Another version than the pinned one may give other bytes, whatever its speed. */
const fastestEncoder = (): EncoderName =>
  own.zstdCompressSync && (process.versions as Partial<Record<string, string>>)['zstd'] === ZSTD_VERSION
    ? 'node'
    : 'wasm';

export type DecoderName = 'node' | 'native' | 'wasm';

/**
 * A decoder of single frames. `@mongodb-js/zstd` is optional: native code that npm brings as a package of its own for
 * each system, without an install script.
 * @param name for tests; default: the fastest one
 * @param most bytes that a frame may unpack to
 * @returns a function that throws an Error with the code EINVAL for a frame that is damaged or too large
 */
export async function zstdDecoder(
  most: number,
  name?: DecoderName,
): Promise<(frame: Uint8Array) => Promise<Uint8Array>> {
  const decode = await decoderOf(most, name ?? (own.zstdDecompress ? 'node' : 'native'));
  return async (bytes) => {
    const bound = unpackedBound(bytes);
    if (bound > Math.max(most, SLACK)) throw damaged(`it may have ${bound} bytes; ${most} are the most`);
    return checked(decode, bytes, most);
  };
}

/** A frame that does not state its size has a bound from its blocks, of which an encoder may make many small ones. */
const SLACK = 16 << 20;

async function checked(decode: Codec, bytes: Uint8Array, most: number): Promise<Uint8Array> {
  let unpacked: Uint8Array;
  try {
    unpacked = await decode(bytes);
  } catch (error) {
    throw damaged('the decoder refuses it', error);
  }
  if (unpacked.length <= most) return unpacked;
  throw damaged(`it has ${unpacked.length} bytes; ${most} are the most`);
}

async function decoderOf(most: number, name: DecoderName): Promise<Codec> {
  const { zstdDecompress } = own;
  if (name === 'node' && zstdDecompress)
    return (bytes) =>
      new Promise((resolve, reject) =>
        zstdDecompress(bytes, { chunkSize: most, maxOutputLength: most }, (error, unpacked) =>
          error ? reject(error) : resolve(unpacked),
        ),
      );
  if (name !== 'wasm') {
    const native = await import('@mongodb-js/zstd').catch(() => undefined);
    if (native) return (bytes) => native.decompress(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
  const { decompress } = await wasm();
  return (bytes) => decompress(bytes, { defaultHeapSize: most }); // of a frame that does not state its size
}

const damaged = (why: string, cause?: unknown): Error => failure('EINVAL', `a chunk is no zstd of ours: ${why}`, cause);
