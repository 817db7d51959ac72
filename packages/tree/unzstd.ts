/**
 * Unpacks zstd as it comes, where Node.js cannot (before 26). The library is zstd itself, as WebAssembly: it verifies
 * checksums, takes any number of frames, and refuses windows above 128 MiB.
 * https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md
 *
 * zstddec has a `decodeStreaming`, which cannot wait for bytes, takes errors for progress, and frees nothing if its user
 * stops. So its functions are called here.
 */
import { invalid } from './byte-reader.js';

/** Functions of zstd.h. Pointers and sizes have 32 bits. */
interface Zstd {
  readonly memory: { readonly buffer: ArrayBuffer };
  malloc(size: number): number;
  free(pointer: number): void;
  ZSTD_createDCtx(): number;
  ZSTD_freeDCtx(context: number): number;
  /** @returns 0 at the end of a frame; a code of an error */
  ZSTD_decompressStream(context: number, output: number, input: number): number;
}

/** Bytes at once: of input, and of output (a block of zstd). */
const PIECE = 128 << 10;
/** `ZSTD_inBuffer` and `ZSTD_outBuffer`: a pointer, a size, a position. */
const BUFFER = 12;
/** `ZSTD_error_maxCode`: errors are the largest numbers. */
const ERRORS = 120;

let library: Promise<Zstd> | undefined;

/** @throws Error with the code EINVAL if it is damaged, is cut off, or needs a larger window; the errors of the stream */
export async function* unzstd(packed: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const zstd = await (library ??= load());
  const context = zstd.ZSTD_createDCtx();
  const memory = zstd.malloc(2 * PIECE + 2 * BUFFER);
  try {
    if (context === 0 || memory === 0) throw new Error('zstd: there is no memory left');
    yield* unpack(zstd, context, memory, packed);
  } finally {
    zstd.free(memory);
    zstd.ZSTD_freeDCtx(context);
  }
}

async function* unpack(
  zstd: Zstd,
  context: number,
  memory: number,
  packed: AsyncIterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  const [inputAt, outputAt, from, to] = [memory, memory + PIECE, memory + 2 * PIECE, memory + 2 * PIECE + BUFFER];
  let left = 0;
  for await (const bytes of packed)
    for (let at = 0; at < bytes.length; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      new Uint8Array(zstd.memory.buffer).set(piece, inputAt);
      for (let read = 0, isFull = false; read < piece.length || isFull;) {
        // The memory moves when it grows.
        const before = new DataView(zstd.memory.buffer);
        [inputAt, piece.length, read].forEach((value, index) => before.setUint32(from + 4 * index, value, true));
        [outputAt, PIECE, 0].forEach((value, index) => before.setUint32(to + 4 * index, value, true));
        left = zstd.ZSTD_decompressStream(context, to, from) >>> 0;
        if (left > 2 ** 32 - ERRORS)
          throw invalid(`zstd: the stream is damaged, or needs more than 128 MiB (${left - 2 ** 32})`);
        const after = new DataView(zstd.memory.buffer);
        read = after.getUint32(from + 8, true);
        const written = after.getUint32(to + 8, true);
        isFull = written === PIECE && left !== 0;
        if (written > 0) yield Buffer.from(new Uint8Array(zstd.memory.buffer, outputAt, written));
      }
    }
  if (left !== 0) throw invalid('zstd: the stream ends within a frame');
}

/** The functions of the library, which it keeps for itself. */
async function load(): Promise<Zstd> {
  const { ZSTDDecoder } = await import('zstddec/stream'); // WebAssembly, which most starts do not need
  const decoder = new ZSTDDecoder();
  let exported: Zstd | undefined;
  decoder._init = (result: { readonly instance: { readonly exports: unknown } }) => {
    ZSTDDecoder.prototype._init(result as never);
    exported = result.instance.exports as Zstd;
  };
  await decoder.init();
  if (!exported) throw new Error('zstddec: another part of this program has started it');
  return exported;
}
