/**
 * A writable device over a read-only base. Writes go to a third device, the delta (overlay-format.ts).
 *
 * Why a crash does no harm: bits of the bitmap only change from 0 to 1, and a bit is stored only after the data of its
 * block is durable. So at any moment a block whose bit is stored is complete in the delta. A block whose bit is not
 * stored is read from the base, whatever the delta holds in its place. A flush first makes the data durable, then
 * stores the bits of the blocks that were written before it began, then makes those bits durable. A torn write of the
 * bitmap stores some of these bits.
 */
import { aligned } from './aligned.js';
import {
  checkRange,
  failure,
  mergeExtents,
  type BlockBackend,
  type Extent,
  type MaybePromise,
  type ZeroOptions,
} from './backend.js';
import { bitmap, type Bitmap } from './bitmap.js';
import { changeBlocks, alignInwards, writing, zeroing, type Change, type Edges } from './blocks.js';
import { chain, forEachInTurn } from './maybe.js';
import { checkBitmap, decodeHeader, encodeHeader, HEADER, type OverlayLayout } from './overlay-format.js';
import { rangeLock } from './range-lock.js';
import { extentsAt } from './sizes.js';

export interface CopyOnWriteOptions {
  /**
   * Identifies the base, such as a digest or the base's `version`. A delta of another base is refused. Default: none,
   * which only fits a delta made without an identity. For such a delta only the size of the base is compared, whatever
   * is given here.
   */
  readonly identity?: string | undefined;
  /** The name of the delta in messages. */
  readonly name?: string;
}

const MAXIMUM = 32 << 20;

/**
 * Makes an empty overlay on a delta that has the size of the layout and holds only zeros. The overlay is durable when
 * the promise resolves.
 */
export async function formatDelta(delta: BlockBackend, layout: OverlayLayout, identity = ''): Promise<void> {
  await aligned(delta).write?.(encodeHeader(layout, identity), 0);
  await delta.flush?.();
}

/**
 * `base` with the writes stored in `delta`. It cannot be resized. `close` closes both. `base` must not change.
 * @throws Error with the code EINVAL if the delta is not an overlay, is damaged, or belongs to another base; EROFS if
 * the delta is read-only
 */
export async function copyOnWrite(
  base: BlockBackend,
  delta: BlockBackend,
  { identity = '', name = 'the delta' }: CopyOnWriteOptions = {},
): Promise<BlockBackend> {
  if (delta.write === undefined) throw failure('EROFS', `${name}: cannot be written`);
  const [alignedBase, alignedDelta] = [aligned(base), aligned(delta)];
  const header = Buffer.alloc(Math.min(HEADER, delta.size));
  await alignedDelta.read(header, 0);
  const layout = decodeHeader(header, name, base.size, identity);
  if (delta.size !== layout.size)
    throw failure('EINVAL', `${name}: has ${delta.size} bytes, an overlay over ${base.size} has ${layout.size}`);
  const bits = new Uint8Array(layout.bitmapSize);
  await alignedDelta.read(bits, HEADER);
  checkBitmap(bits, layout, name);
  return backendOf(alignedBase, alignedDelta, layout, bitmap(bits));
}

function backendOf(base: BlockBackend, delta: BlockBackend, layout: OverlayLayout, inDelta: Bitmap): BlockBackend {
  const { blockSize, baseSize: size, data } = layout;
  const lock = rangeLock();
  const blocks = { blockSize, size };
  const edges: Edges = {
    canBeCut: (block) => inDelta.has(block),
    read: (block, start) => base.read(block, start),
    write: (block, start) => delta.write?.(block, data + start),
  };

  /** Splits a range into runs that are either entirely in the delta or entirely not. */
  function* runs(offset: number, length: number): Generator<{ isInDelta: boolean; from: number; to: number }> {
    const end = offset + length;
    const last = Math.ceil(end / blockSize);
    for (let at = offset; at < end;) {
      const block = Math.floor(at / blockSize);
      const to = Math.min(inDelta.runEnd(block, last) * blockSize, end);
      yield { isInDelta: inDelta.has(block), from: at, to };
      at = to;
    }
  }

  function read(into: Uint8Array, offset: number): MaybePromise<void> {
    checkRange({ size }, offset, into.length);
    return forEachInTurn(runs(offset, into.length), ({ isInDelta, from, to }) => {
      const part = to - from === into.length ? into : into.subarray(from - offset, to - offset);
      return isInDelta ? delta.read(part, data + from) : base.read(part, from);
    });
  }

  /**
   * Changes a range. A block that changes only in part and is not in the delta is read from the base, changed, and
   * written whole. The lock keeps others from changing blocks that are not in the delta; blocks in the delta need no
   * lock.
   */
  function change(change: Change): MaybePromise<void> {
    const { offset, length } = change;
    checkRange({ size }, offset, length);
    if (length === 0) return;
    const [first, end] = [Math.floor(offset / blockSize), Math.ceil((offset + length) / blockSize)];
    if (inDelta.hasAll(first, end)) return change.middle(offset, offset + length);
    return lock(first, end, () => chain(changeBlocks(change, blocks, edges), () => inDelta.set(first, end)));
  }

  const write = (bytes: Uint8Array, offset: number): MaybePromise<void> =>
    change(writing(bytes, offset, (part, from) => delta.write?.(part, data + from)));

  const zero = (offset: number, length: number, options?: ZeroOptions): MaybePromise<void> =>
    change(zeroing(offset, length, (from, count) => delta.zero?.(data + from, count, options)));

  /** Blocks in the delta become zeros. All other blocks keep the contents of the base. */
  function trim(offset: number, length: number): MaybePromise<void> {
    checkRange({ size }, offset, length);
    const [first, end] = alignInwards(offset, length, blocks);
    return forEachInTurn(runs(first, Math.max(0, end - first)), ({ isInDelta, from, to }) =>
      isInDelta ? delta.trim?.(data + from, to - from) : undefined,
    );
  }

  function extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    checkRange({ size }, offset, length);
    const found: Extent[] = [];
    const all = forEachInTurn([...runs(offset, length)], ({ isInDelta, from, to }) =>
      chain(extentsAt(isInDelta ? delta : base, isInDelta ? data + from : from, to - from, from), (states) => {
        for (const state of states) found.push(state);
      }),
    );
    return chain(all, () => mergeExtents(found));
  }

  return {
    size,
    blockSizes: { minimum: 1, preferred: blockSize, maximum: MAXIMUM },
    read,
    write,
    flush: oneAtATime(() => persist(delta, inDelta)),
    ...(delta.trim && { trim }),
    ...(delta.zero && { zero }),
    ...((base.extents ?? delta.extents) && { extents }),
    ...(base.prefetch && {
      prefetch: (offset, length) => {
        checkRange({ size }, offset, length);
        return forEachInTurn([...runs(offset, length)], ({ isInDelta, from, to }) =>
          isInDelta ? undefined : base.prefetch?.(from, to - from),
        );
      },
    }),
    close: () => chain(delta.close(), () => base.close()),
  };
}

/** The bits are taken before the data is made durable: bits of later writes must not be stored yet. */
async function persist(delta: BlockBackend, inDelta: Bitmap): Promise<void> {
  const changed = inDelta.takeChanged();
  try {
    await delta.flush?.();
    if (changed.size === 0) return;
    for (const [offset, page] of changed) await delta.write?.(page, HEADER + offset);
    await delta.flush?.();
  } catch (error) {
    inDelta.restoreChanged(changed);
    throw error;
  }
}

/**
 * Callers that arrive while `work` runs share the next run. They cannot share the current one, because it began before
 * their call.
 */
function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    running = work().finally(() => (running = undefined));
    return running;
  };
  return () => {
    if (running === undefined) return start();
    return (next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        return start();
      }));
  };
}
