/**
 * zstd: one pinned encoder, and the fastest decoder that is there.
 *
 * The id of a chunk is the checksum of its stored bytes, so every machine must compress to the same bytes: zstd 1.5.7,
 * level 3, one frame. `@bokuweb/zstd-wasm` is that version as WebAssembly. Node.js has zstd of its own from 22.15 on, and
 * many systems have the library; where those are the same version they give the same bytes, and are faster. Whatever is
 * not the WebAssembly has to prove it, on a sample.
 */
import { createHash } from 'node:crypto';
import * as zlib from 'node:zlib';
import { failure } from '@nodeos/block';
import { unpackedBound } from './frame.js';
import { zstdLibrary, type Library } from './zstd-library.js';

/** The version whose bytes are the format. */
export const ZSTD_VERSION = '1.5.7';
/** The same as the library says it. */
const ZSTD_VERSION_NUMBER = 10507;

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

export type EncoderName = 'node' | 'library' | 'wasm';
type Compress = (bytes: Uint8Array) => Uint8Array;

/** The fastest first. Each is undefined where it is not there, or has another version. */
const ENCODERS: Readonly<Record<EncoderName, (level: number) => Promise<Compress | undefined>>> = {
  node: (level) => Promise.resolve(nodeCompress(level)),
  async library(level) {
    const found = await (library ??= zstdLibrary());
    return found?.version === ZSTD_VERSION_NUMBER ? (bytes) => found.compress(bytes, level) : undefined;
  },
  async wasm(level) {
    const { compress } = await wasm();
    return (bytes) => compress(bytes, level);
  },
};
let library: Promise<Library | undefined> | undefined;

function nodeCompress(level: number): Compress | undefined {
  const { zstdCompressSync } = own;
  const version = (process.versions as Partial<Record<string, string>>)['zstd'];
  if (!zstdCompressSync || version !== ZSTD_VERSION) return undefined;
  const params = { [COMPRESSION_LEVEL]: level };
  return (bytes) =>
    zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length, chunkSize: compressBound(bytes.length) });
}

/** ZSTD_COMPRESSBOUND, and a little more. With less room zstd works piece by piece, which gives other bytes. */
const compressBound = (length: number): number => length + (length >>> 8) + 128;

/**
 * @param level of zstd, 1 or 3: the bytes of two levels differ
 * @param name for tests; default: the fastest one that gives the bytes of the format
 * @throws Error if the named one is not there
 */
export async function zstdEncoder(level: EncoderLevel, name?: EncoderName): Promise<Codec> {
  for (const one of name ? [name] : ENCODER_NAMES) {
    const compress = await ENCODERS[one](level);
    if (compress && (one === 'wasm' || isExact(compress, level))) return compress;
  }
  throw new Error(`no zstd ${ZSTD_VERSION}: ${name ?? ENCODER_NAMES.join(', ')}`);
}

export const ENCODER_NAMES = Object.keys(ENCODERS) as readonly EncoderName[];

/** SHA-256 in base64 of the sample as the WebAssembly compresses it, by level. */
export const SAMPLE_SUMS = {
  1: 'E0EQf8asruo8y0maU26hdXdaLxc6bVFl72pBVGKASxA=',
  3: 'Z/S1n/hhefBSVY2Q2DNCtLj2RI+iOeJXlJfiV88DFVU=',
} as const;
export type EncoderLevel = keyof typeof SAMPLE_SUMS;

function isExact(compress: Compress, level: EncoderLevel): boolean {
  try {
    return createHash('sha256').update(compress(sample())).digest('base64') === SAMPLE_SUMS[level];
  } catch {
    return false;
  }
}

/** 300,000 bytes in which there is some of everything: words that come again near and far, numbers, noise and zeros. */
export function sample(): Uint8Array {
  const bytes = new Uint8Array(300_000);
  let state = 1;
  const next = (below: number): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % below;
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(20 + next(4000), bytes.length - at);
    const [kind, from] = [next(4), next(at + 1)];
    if (kind === 0) for (let i = 0; i < length; i++) bytes[at + i] = next(65_536) >>> 8;
    if (kind === 1) for (let i = 0; i < length; i++) bytes[at + i] = 97 + (next(1 << 20) >>> 16);
    if (kind === 2) bytes.copyWithin(at, from, Math.min(from + length, at));
    at += length;
  }
  return bytes;
}

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
