/** Changes to arbitrary ranges of a device that can only be changed in whole blocks. */
import type { MaybePromise } from './backend.js';
import { chain, forEachInTurn } from './maybe.js';

export interface Blocks {
  /** Bytes of a block. The last block ends where the device does. */
  readonly blockSize: number;
  /** Bytes of the device. */
  readonly size: number;
}

/** How to change a range. */
export interface Change {
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  /** Changes the part of a block that lies in the range; `start` is the offset of the block's first byte. */
  readonly edge: (block: Uint8Array, start: number) => void;
  /** Changes a part of the range. */
  readonly middle: (from: number, to: number) => MaybePromise<void> | undefined;
}

/** How the blocks at both ends are read and written, and which of them may be changed in part. */
export interface Edges {
  readonly canBeCut: (block: number) => boolean;
  readonly read: (block: Uint8Array, start: number) => MaybePromise<void>;
  readonly write: (block: Uint8Array, start: number) => MaybePromise<void> | undefined;
}

/** @param write writes a part of the bytes at the given offset */
export const writing = (
  bytes: Uint8Array,
  offset: number,
  write: (part: Uint8Array, from: number) => MaybePromise<void> | undefined,
): Change => ({
  offset,
  length: bytes.length,
  edge: (block, start) => {
    const skipped = Math.max(0, start - offset);
    const part = bytes.subarray(skipped, Math.max(0, start + block.length - offset));
    block.set(part, Math.max(0, offset - start));
  },
  middle: (from, to) => write(bytes.subarray(from - offset, to - offset), from),
});

export const zeroing = (
  offset: number,
  length: number,
  zero: (from: number, count: number) => MaybePromise<void> | undefined,
): Change => ({
  offset,
  length,
  edge: (block, start) => block.fill(0, Math.max(0, offset - start), Math.max(0, offset + length - start)),
  middle: (from, to) => zero(from, to - from),
});

/**
 * Blocks that lie only partly in the range are read, changed and written whole. All other blocks are changed by
 * `middle`.
 */
export function changeBlocks(
  { offset, length, edge, middle }: Change,
  { blockSize, size }: Blocks,
  { canBeCut, read, write }: Edges,
): MaybePromise<void> {
  const end = offset + length;
  const [first, last] = [Math.floor(offset / blockSize), Math.ceil(end / blockSize) - 1];
  const isCut = (block: number): boolean => block * blockSize < offset || Math.min((block + 1) * blockSize, size) > end;
  const edges = [...new Set([first, last])].filter((block) => isCut(block) && !canBeCut(block));
  const from = edges.includes(first) ? (first + 1) * blockSize : offset;
  const to = edges.includes(last) ? last * blockSize : end;
  return chain(from < to ? middle(from, to) : undefined, () =>
    forEachInTurn(edges, (index) => {
      const start = index * blockSize;
      const block = new Uint8Array(Math.min(blockSize, size - start));
      return chain(read(block, start), () => {
        edge(block, start);
        return write(block, start);
      });
    }),
  );
}

/** The smallest range of whole blocks that contains the range. */
export const alignOutwards = (
  offset: number,
  length: number,
  { blockSize, size }: Blocks,
): [from: number, to: number] => [
  offset - (offset % blockSize),
  Math.min(size, Math.ceil((offset + length) / blockSize) * blockSize),
];

/** The largest range of whole blocks within the range. If there is none, `to` is not greater than `from`. */
export const alignInwards = (
  offset: number,
  length: number,
  { blockSize, size }: Blocks,
): [from: number, to: number] => {
  const end = offset + length;
  return [Math.ceil(offset / blockSize) * blockSize, end === size ? end : end - (end % blockSize)];
};
