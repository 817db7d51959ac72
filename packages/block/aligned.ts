/** Serves any range of a device that has a minimum and a maximum request size, such as some NBD exports. */
import { checkRange, mergeExtents, type BlockBackend, type Extent, type MaybePromise } from './backend.js';
import { changeBlocks, alignInwards, alignOutwards, writing, zeroing, type Change, type Edges } from './blocks.js';
import { chain, forEachInTurn } from './maybe.js';
import { rangeLock } from './range-lock.js';
import { pieces } from './sizes.js';

/**
 * `inner`, asked only for whole blocks of its minimum size, and for no more than its maximum at once. Returns `inner`
 * itself if it has no such limits. The last block ends where the device does. The result cannot be resized.
 */
export function aligned(inner: BlockBackend): BlockBackend {
  const { size, blockSizes } = inner;
  if (blockSizes === undefined || (blockSizes.minimum === 1 && blockSizes.maximum >= size)) return inner;
  const { minimum, maximum } = blockSizes;
  const blocks = { blockSize: minimum, size };
  const largest = Math.max(minimum, maximum - (maximum % minimum));
  const lock = rangeLock();

  const isWhole = (offset: number, length: number): boolean =>
    offset % minimum === 0 && length <= largest && (length % minimum === 0 || offset + length === size);

  const edges: Edges = {
    canBeCut: () => false,
    read: (block, start) => inner.read(block, start),
    write: (block, start) => inner.write?.(block, start),
  };

  function read(into: Uint8Array, offset: number): MaybePromise<void> {
    checkRange(inner, offset, into.length);
    if (into.length === 0) return;
    if (isWhole(offset, into.length)) return inner.read(into, offset);
    const [from, to] = alignOutwards(offset, into.length, blocks);
    return forEachInTurn(pieces(from, to - from, largest), ([at, length]) => readPiece(into, offset, at, length));
  }

  /** Reads a piece of whole blocks and keeps only what lies in the requested range. */
  function readPiece(into: Uint8Array, offset: number, at: number, length: number): MaybePromise<void> {
    const [start, end] = [at - offset, at + length - offset];
    if (start >= 0 && end <= into.length) return inner.read(into.subarray(start, end), at);
    const piece = new Uint8Array(length);
    return chain(inner.read(piece, at), () =>
      into.set(piece.subarray(Math.max(0, -start), into.length - start), Math.max(0, start)),
    );
  }

  /** The lock keeps others from changing these blocks between the read and the write back. */
  function change(change: Change): MaybePromise<void> {
    const { offset, length } = change;
    checkRange(inner, offset, length);
    if (length === 0) return;
    const [from, to] = alignOutwards(offset, length, blocks);
    return lock(from, to, () => changeBlocks(change, blocks, edges));
  }

  const write = (bytes: Uint8Array, offset: number): MaybePromise<void> =>
    change(
      writing(bytes, offset, (blocksBytes, from) =>
        forEachInTurn(pieces(0, blocksBytes.length, largest), ([at, length]) =>
          inner.write?.(blocksBytes.subarray(at, at + length), from + at),
        ),
      ),
    );

  return {
    size,
    blockSizes: { ...blockSizes, minimum: 1 },
    read,
    ...(inner.write && { write }),
    ...(inner.flush && { flush: () => inner.flush?.() }),
    ...(inner.trim && {
      trim: (offset, length) => {
        checkRange(inner, offset, length);
        const [from, to] = alignInwards(offset, length, blocks);
        if (from < to) return inner.trim?.(from, to - from);
      },
    }),
    ...(inner.zero && {
      zero: (offset, length, options) =>
        change(zeroing(offset, length, (from, count) => inner.zero?.(from, count, options))),
    }),
    ...(inner.extents && {
      extents: (offset, length) => {
        checkRange(inner, offset, length);
        const [from, to] = alignOutwards(offset, length, blocks);
        return chain(inner.extents?.(from, to - from) ?? [], (extents) => clipped(extents, offset, offset + length));
      },
    }),
    ...(inner.prefetch && {
      prefetch: (offset, length) => {
        checkRange(inner, offset, length);
        const [from, to] = alignOutwards(offset, length, blocks);
        return inner.prefetch?.(from, to - from);
      },
    }),
    close: () => inner.close(),
  };
}

/** The parts of the extents that lie within the range. */
const clipped = (extents: readonly Extent[], offset: number, end: number): readonly Extent[] =>
  mergeExtents(
    extents.map((extent) => {
      const from = Math.max(extent.offset, offset);
      return { ...extent, offset: from, length: Math.max(0, Math.min(extent.offset + extent.length, end) - from) };
    }),
  );
