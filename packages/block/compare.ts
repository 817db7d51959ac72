/** Compares the contents of two devices. */
import type { BlockBackend } from './backend.js';
import type { CopyOptions } from './copy.js';
import { inParallel } from './parallel.js';
import { withErrorContext, splitPart, partsOf, unitOf, type Part } from './parts.js';
import { extentsOf, roundUp } from './sizes.js';

const PIECE = 1 << 20;

/**
 * Compares all of `source` with the beginning of `target`. Ranges that both devices report as zero are not read.
 * @returns the offset of the first difference in bytes; undefined if there is none
 */
export async function difference(
  source: BlockBackend,
  target: BlockBackend,
  { requests = 16, progress, signal }: Pick<CopyOptions, 'requests' | 'progress' | 'signal'> = {},
): Promise<number | undefined> {
  if (target.size < source.size) return target.size;
  const minimum = target.blockSizes?.minimum ?? 1;
  const buffers: (readonly [Buffer, Buffer])[] = [];
  let first: number | undefined;
  let done = 0;

  const advance = (length: number): void => progress?.((done += length), source.size);

  async function comparePiece({ offset, length, zero }: Part, worker: number): Promise<void> {
    const [a, b] = (buffers[worker] ??= [Buffer.alloc(PIECE), Buffer.alloc(PIECE)]);
    const expected = a.subarray(0, length);
    if (zero) expected.fill(0);
    else await withErrorContext('reading', 'the source', offset, length, () => source.read(expected, offset));
    const actual = b.subarray(0, roundUp(length, minimum)); // the source may end within a block of the target
    await withErrorContext('reading', 'the target', offset, actual.length, () => target.read(actual, offset));
    const at = offset + firstDifference(expected, actual);
    if (at < offset + length) first = Math.min(first ?? at, at);
    advance(length);
  }

  async function* parts(): AsyncGenerator<Part> {
    for await (const part of partsOf(source, unitOf(source, target))) {
      for await (const candidate of part.zero ? notZero(part) : [part]) {
        if (first !== undefined) return; // only requests under way can still find an earlier difference
        yield* splitPart(candidate, PIECE);
      }
    }
  }

  /** The extents that the target does not report as zero. */
  async function* notZero({ offset, length }: Part): AsyncGenerator<Part> {
    for (const extent of await extentsOf(target, offset, length)) {
      if (extent.zero) advance(extent.length);
      else yield { offset: extent.offset, length: extent.length, zero: true };
    }
  }

  await inParallel(parts(), requests, comparePiece, signal);
  return first;
}

/** @returns the length of `expected` if there is no difference */
function firstDifference(expected: Buffer, actual: Buffer): number {
  if (expected.equals(actual.subarray(0, expected.length))) return expected.length;
  return expected.findIndex((byte, index) => byte !== actual[index]);
}
