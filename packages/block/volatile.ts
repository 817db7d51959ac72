/**
 * A device whose power can be cut, for tests. Until a flush, it is like a drive with a cache: a change may be lost, or
 * get there in part, and a later one may get there without it. Changes reach `inner` at once, and what they replace is
 * kept until the next flush. A cut puts some of it back.
 */
import { around, type Operation } from './around.js';
import { checkRange, failure, type BlockBackend, type MaybePromise } from './backend.js';
import { random } from './random.js';
import { pieces } from './sizes.js';

export interface Volatile extends BlockBackend {
  /** Loses some of what was not flushed, and fails every later request with the code EIO. `inner` stays open. */
  cut(): Promise<void>;
}

/** What was there before a change. */
interface Replaced {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Bytes that a drive writes whole or not at all. */
const SECTOR = 512;
/** Bytes that are lost or kept together, at most. */
const PIECE = 1 << 20;
/** The share of pieces that are torn: of them, each sector is lost or kept on its own. */
const TORN = 0.25;

const CHANGES: ReadonlySet<Operation> = new Set(['write', 'zero', 'trim']);

/**
 * `inner` with a volatile cache. It cannot be resized. Changes and flushes are done one after the other. The same seed
 * loses the same changes. Takes as much memory as changes have replaced since the last flush.
 */
export function volatile(inner: BlockBackend, seed = 0): Volatile {
  let replaced: Replaced[] = [];
  let cutting: Promise<void> | undefined;
  let last: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => MaybePromise<T>): Promise<T> {
    const done = last.then(() => {
      checkPower();
      return work();
    });
    last = done.catch(() => undefined);
    return done;
  }

  function checkPower(): void {
    if (cutting) throw failure('EIO', 'the power of the device was cut');
  }

  async function keep(offset: number, length: number): Promise<void> {
    checkRange(inner, offset, length);
    for (const [at, count] of pieces(offset, length, PIECE)) {
      const bytes = new Uint8Array(count);
      await inner.read(bytes, at);
      replaced.push({ offset: at, bytes });
    }
  }

  async function flush<T>(work: () => MaybePromise<T>): Promise<T> {
    const done = await work();
    replaced = [];
    return done;
  }

  const device = around(inner, (operation, offset, length, work) => {
    if (CHANGES.has(operation)) return inTurn(() => keep(offset, length).then(work));
    if (operation === 'flush') return inTurn(() => flush(work));
    checkPower();
    return work();
  });
  delete device.resize;

  async function lose(): Promise<void> {
    await last;
    for (const { offset, bytes } of lostOf(replaced, random(seed))) await inner.write?.(bytes, offset);
  }
  return Object.assign(device, { cut: () => (cutting ??= lose()) });
}

/**
 * What comes back, from the newest change to the oldest: once a change to a sector is kept, what it had replaced does not
 * matter. So each sector is in one of the states that it had.
 */
function* lostOf(replaced: readonly Replaced[], chance: () => number): Generator<Replaced> {
  const keptShare = [0, chance(), 1][Math.floor(chance() * 3)] ?? 1;
  const keptSectors = new Set<number>();
  for (const { offset, bytes } of replaced.toReversed()) {
    const isTorn = chance() < TORN;
    const isKept = chance() < keptShare;
    const end = offset + bytes.length;
    for (let at = offset; at < end;) {
      const sector = Math.floor(at / SECTOR);
      const next = Math.min(end, (sector + 1) * SECTOR);
      if (isTorn ? chance() < keptShare : isKept) keptSectors.add(sector);
      if (!keptSectors.has(sector)) yield { offset: at, bytes: bytes.subarray(at - offset, next - offset) };
      at = next;
    }
  }
}
