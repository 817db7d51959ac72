/** Copies one device to another. Holes are not read, and zeros become holes. */
import { failure, type BlockBackend } from './backend.js';
import { pageAligned } from './direct.js';
import { inParallel } from './parallel.js';
import { withErrorContext, splitPart, isZero, partsOf, unitOf, type Part } from './parts.js';
import { pieces, roundUp, ZEROS } from './sizes.js';

export interface CopyOptions {
  /** Pieces under way at once, at least 1. Each needs a buffer. Default 16. */
  readonly requests?: number;
  /** Largest piece in bytes; rounded up to a multiple of 64 KiB. Default 1 MiB. */
  readonly pieceSize?: number;
  /**
   * Zeros become holes if the target supports holes. Otherwise the target allocates space for everything. Default true.
   */
  readonly sparse?: boolean;
  /**
   * Pieces of data begin at multiples of this, in bytes, and so do zeros that are not read. At least the minimum block size
   * of both devices, and 4096 by default.
   */
  readonly unit?: number;
  /** Pieces begin at a page of memory, which writes past the cache want. Default false. */
  readonly pageAligned?: boolean;
  /** Called with each piece that was read, which is overwritten afterwards. */
  readonly onRead?: (bytes: Uint8Array, offset: number) => void;
  /** The target already reads as zeros, so zeros of the source are skipped. Default false. */
  readonly targetIsZero?: boolean;
  /** Called after each piece with the bytes of the source that are done, and the size of the source. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

/** All values are in bytes. */
export interface Copied {
  /** Bytes read from the source. All others are known to be zero. */
  readonly read: number;
  readonly written: number;
  /** Bytes made zero without sending data, or skipped because they already are zero. */
  readonly zeros: number;
}

const PIECE = 1 << 20;
/** Zeros are found within data in blocks of this size, in bytes. */
const BLOCK = 64 << 10;
/** Largest request to zero a range, in bytes. */
const ZERO_PIECE = 128 << 20;

/**
 * Copies all of `source` to the beginning of `target`. The rest of `target` stays unchanged. Does not flush.
 * @throws RangeError if `requests` is not a whole number of at least 1; Error with the code ENOSPC if the target is
 * smaller, EROFS if the target is read-only; the errors of both devices; the signal's reason. By then no request is
 * under way, and the target has some of the pieces
 */
export async function copy(source: BlockBackend, target: BlockBackend, options: CopyOptions = {}): Promise<Copied> {
  const { requests = 16, sparse = true, targetIsZero = false, unit = 0, onRead, progress, signal } = options;
  check(source, target);
  const pieceSize = roundUp(options.pieceSize ?? PIECE, BLOCK);
  const counts = { read: 0, written: 0, zeros: 0 };
  const memory = options.pageAligned ? pageAligned(requests * pieceSize) : undefined;
  const buffers: Buffer[] = [];
  const to = writer(target, { sparse, targetIsZero }, counts);
  let done = 0;

  const bufferOf = (worker: number): Buffer =>
    memory?.subarray(worker * pieceSize, (worker + 1) * pieceSize) ?? Buffer.allocUnsafeSlow(pieceSize);

  async function copyPiece({ offset, length, zero }: Part, worker: number): Promise<void> {
    if (zero) await to.clear(offset, length);
    else {
      const buffer = (buffers[worker] ??= bufferOf(worker)).subarray(0, length);
      await withErrorContext('reading', 'the source', offset, length, () => source.read(buffer, offset));
      counts.read += length;
      onRead?.(buffer, offset);
      for (const run of sparse ? runs(buffer, offset) : [{ offset, length, zero: false }]) {
        const bytes = buffer.subarray(run.offset - offset, run.offset - offset + run.length);
        await (run.zero ? to.clear(run.offset, run.length) : to.write(bytes, run.offset));
      }
    }
    done += length;
    progress?.(done, source.size);
  }

  async function* parts(): AsyncGenerator<Part> {
    for await (const part of partsOf(source, Math.max(unit, unitOf(source, target))))
      yield* splitPart(part, part.zero ? ZERO_PIECE : pieceSize);
  }

  await inParallel(parts(), requests, copyPiece, signal);
  return counts;
}

function check(source: BlockBackend, target: BlockBackend): void {
  if (!target.write) throw failure('EROFS', 'the target cannot be written');
  if (source.size > target.size)
    throw failure('ENOSPC', `the source has ${source.size} bytes, the target has only ${target.size}`);
}

/** Splits data into runs of zero blocks and runs of other blocks. */
function runs(bytes: Buffer, offset: number): Part[] {
  const found: Part[] = [];
  for (const [at, length] of pieces(0, bytes.length, BLOCK)) {
    const zero = isZero(bytes.subarray(at, at + length));
    const last = found.at(-1);
    if (last?.zero === zero) found[found.length - 1] = { ...last, length: last.length + length };
    else found.push({ offset: offset + at, length, zero });
  }
  return found;
}

interface Writer {
  write(bytes: Uint8Array, offset: number): Promise<void>;
  clear(offset: number, length: number): Promise<void>;
}

function writer(
  target: BlockBackend,
  { sparse, targetIsZero }: { readonly sparse: boolean; readonly targetIsZero: boolean },
  counts: { written: number; zeros: number },
): Writer {
  const minimum = target.blockSizes?.minimum ?? 1;

  async function write(bytes: Uint8Array, offset: number): Promise<void> {
    const aligned = bytes.length % minimum === 0 ? bytes : await padded(bytes, offset);
    await withErrorContext('writing', 'the target', offset, aligned.length, () => target.write?.(aligned, offset));
    counts.written += bytes.length;
  }

  /**
   * Completes the last block if the source ends within a block of the target. Bytes after the source stay unchanged.
   */
  async function padded(bytes: Uint8Array, offset: number): Promise<Uint8Array> {
    const aligned = new Uint8Array(roundUp(bytes.length, minimum));
    await withErrorContext('reading', 'the target', offset, aligned.length, () => target.read(aligned, offset));
    aligned.set(bytes);
    return aligned;
  }

  async function clear(offset: number, length: number): Promise<void> {
    if (sparse && targetIsZero) {
      counts.zeros += length;
    } else if (target.zero && length % minimum === 0) {
      await withErrorContext('zeroing', 'the target', offset, length, () =>
        target.zero?.(offset, length, { mayTrim: sparse }),
      );
      counts.zeros += length;
    } else {
      for (const [at, count] of pieces(offset, length, ZEROS.length)) await write(ZEROS.subarray(0, count), at);
    }
  }

  return { write, clear };
}
