/** One bit per block, which only ever changes from 0 to 1. It also records which of its pages have changed. */

export interface Bitmap {
  /** In the layout of the file: block `i` is bit `i % 8` of byte `i / 8`. */
  readonly bytes: Uint8Array;
  has(index: number): boolean;
  /** Whether every bit of the range is set; `end` is exclusive. */
  hasAll(first: number, end: number): boolean;
  set(first: number, end: number): void;
  /** The end of the run of equal bits that starts at `first`; at most `end`. */
  runEnd(first: number, end: number): number;
  /** Copies of the pages that changed since the last call. Keys are offsets in bytes, values are the bytes. */
  takeChanged(): ReadonlyMap<number, Uint8Array>;
  /** Marks the pages as changed again, because they could not be stored. */
  restoreChanged(pages: ReadonlyMap<number, Uint8Array>): void;
}

const PAGE = 4096;

export function bitmap(bytes: Uint8Array): Bitmap {
  const changed = new Set<number>();
  const byteAt = (index: number): number => bytes[index >>> 3] ?? 0;
  const has = (index: number): boolean => ((byteAt(index) >>> (index & 7)) & 1) === 1;

  function runEnd(first: number, end: number): number {
    const [bit, whole] = has(first) ? [true, 0xff] : [false, 0];
    let at = first;
    while (at < end && has(at) === bit) at += (at & 7) === 0 && byteAt(at) === whole ? 8 : 1;
    return Math.min(at, end);
  }

  return {
    bytes,
    has,
    runEnd,
    hasAll: (first, end) => first >= end || (has(first) && runEnd(first, end) === end),
    set: (first, end) => {
      for (let at = first; at < end;) {
        const isWhole = (at & 7) === 0 && end - at >= 8;
        bytes[at >>> 3] = isWhole ? 0xff : byteAt(at) | (1 << (at & 7));
        changed.add(Math.floor((at >>> 3) / PAGE));
        at += isWhole ? 8 : 1;
      }
    },
    takeChanged: () => {
      const pages = [...changed].map((page) => [page * PAGE, bytes.slice(page * PAGE, (page + 1) * PAGE)] as const);
      changed.clear();
      return new Map(pages);
    },
    restoreChanged: (pages) => {
      for (const offset of pages.keys()) changed.add(offset / PAGE);
    },
  };
}
