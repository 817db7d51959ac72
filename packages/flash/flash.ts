/**
 * Writes an image to a drive so that it is either whole or does not boot, wherever the power is cut:
 *
 *     1. the first sector becomes zeros: without it, no firmware finds a system
 *     2. the rest of the first MiB, with the old tables, becomes zeros, and the end too
 *     3. everything behind the first MiB is written
 *     4. the first MiB is written, and its first sector last of all
 *     5. all that was written is read back past the cache, and compared
 *
 * A step begins when the one before it is durable. A drive writes a sector whole, but may write the sectors of one request
 * in any order. So a GPT, which is in the second sector, is there without an MBR for a moment, but never with another
 * system than its own.
 */
import { copy, extentsOf, failure, pieces, slice, type BlockBackend } from '@nodeos/block';
import { directReader } from './direct.js';

const MIB = 1 << 20;
/** Bytes that are changed first and last of all. A drive with larger sectors writes one of those whole. */
const FIRST_SECTOR = 512;
/** Bytes of zeros that are compared at either end of a hole. */
const ZEROS = 4096;
/** Bytes to compare at once, and to ask for holes at once. */
const PIECE = 4 * MIB;
const WINDOW = 2 ** 30;

export type FlashStage = 'written' | 'verified';

export interface FlashOptions {
  /** Called with the bytes that are done in a stage, and with all of them. */
  readonly progress?: (stage: FlashStage, done: number, size: number) => void;
  /** Read everything back. Default true. */
  readonly verify?: boolean;
  readonly signal?: AbortSignal;
}

export interface Flashed {
  /** Bytes of data that were written. All other bytes of the image are zeros. */
  readonly written: number;
  /** Bytes that were read back and compared. */
  readonly verified: number;
  /** Whether they came from the drive and not from a cache. */
  readonly isDirect: boolean;
}

/**
 * Writes the image to the start of the drive, from memory that `writesDirectly` takes.
 * @param path of the drive, to read it back
 * @throws Error with the code ENOSPC if the drive is too small (nothing has changed then); EIO with the first byte that
 * differs; the errors of both devices; the signal's reason. After an error the drive does not boot
 */
export async function flash(
  image: BlockBackend,
  target: BlockBackend,
  path: string,
  options: FlashOptions = {},
): Promise<Flashed> {
  const { progress, signal, verify = true } = options;
  if (image.size > target.size)
    throw failure('ENOSPC', `the image has ${image.size} bytes, and ${path} has ${target.size}`);
  await wipeFirstSector(target);
  await wipeTables(target);
  const head = Math.min(MIB, image.size);
  const part = (from: BlockBackend, start: number, end: number): BlockBackend => slice(from, start, end - start);
  const write = (start: number, end: number, report: boolean): Promise<{ written: number }> =>
    copy(part(image, start, end), part(target, start, end), {
      pageAligned: true,
      ...(signal && { signal }),
      ...(report && { progress: (done: number) => progress?.('written', done, image.size) }),
    });
  let written = 0;
  const order: [number, number][] = [
    [head, image.size],
    [Math.min(FIRST_SECTOR, head), head],
    [0, Math.min(FIRST_SECTOR, head)],
  ];
  for (const [index, [start, end]] of order.entries()) {
    if (end > start) written += (await write(start, end, index === 0)).written;
    await target.flush?.();
    signal?.throwIfAborted();
  }
  progress?.('written', image.size, image.size);
  const compared = verify ? await compare(image, path, target.size, options) : { verified: 0, isDirect: false };
  return { written, ...compared };
}

/** Makes sure that no firmware finds a system, before anything else is changed. */
export async function wipeFirstSector(target: BlockBackend): Promise<void> {
  await target.write?.(Buffer.alloc(Math.min(FIRST_SECTOR, target.size)), 0);
  await target.flush?.();
}

/** Without its old tables, nothing that the drive still has is taken for a system. */
async function wipeTables(target: BlockBackend): Promise<void> {
  const zeros = Buffer.alloc(Math.min(MIB, target.size));
  await target.write?.(zeros, target.size - zeros.length);
  await target.write?.(zeros, 0);
  await target.flush?.();
}

/** Compares the data of the image, and the ends of each range of zeros. */
async function compare(
  image: BlockBackend,
  path: string,
  size: number,
  { progress, signal }: FlashOptions,
): Promise<{ verified: number; isDirect: boolean }> {
  const reader = await directReader(path, size, PIECE);
  const expected = Buffer.alloc(PIECE);
  let verified = 0;
  try {
    for (const [start, end] of await rangesToCompare(image))
      for (const [offset, length] of pieces(start, end - start, PIECE)) {
        signal?.throwIfAborted();
        const wanted = expected.subarray(0, length);
        const [found] = await Promise.all([reader.read(offset, length), image.read(wanted, offset)]);
        if (!found.equals(wanted))
          throw failure('EIO', `${path} differs from the image at byte ${offset + firstDifference(found, wanted)}`);
        verified += length;
        progress?.('verified', offset + length, image.size);
      }
    return { verified, isDirect: reader.isDirect };
  } finally {
    await reader.close();
  }
}

/** The data, each with up to a block of the zeros before and behind it: that a drive zeroes what it is told to is checked so. */
async function rangesToCompare(image: BlockBackend): Promise<[number, number][]> {
  const ranges: [number, number][] = [];
  for (let at = 0; at < image.size;) {
    const before = at;
    for (const { offset, length, zero } of await extentsOf(image, at, Math.min(WINDOW, image.size - at))) {
      at = offset + length;
      if (!zero) add(ranges, Math.max(0, offset - ZEROS), Math.min(image.size, at + ZEROS));
    }
    if (at === before) throw failure('EIO', `the image does not say what is at byte ${at}`);
  }
  return ranges;
}

function add(ranges: [number, number][], start: number, end: number): void {
  const last = ranges.at(-1);
  if (last && start <= last[1]) last[1] = end;
  else ranges.push([start, end]);
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? 0 : at;
}
