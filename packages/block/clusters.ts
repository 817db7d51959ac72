/** A disk in clusters, which the tables of an image locate: the common part of these formats. */
import { aligned } from './aligned.js';
import { checkRange, mergeExtents, type BlockBackend, type Extent } from './backend.js';
import type { Parsing } from './parsing.js';
import { extentsAt } from './sizes.js';

/** Where a cluster is stored. */
export type Place<Key> =
  | { readonly kind: 'zero' }
  /**
   * In the backing device, if there is one. @property span the number of clusters from this one on that are alike, if
   * known
   */
  | { readonly kind: 'nothing'; readonly span?: number }
  /** At this byte of the image. */
  | { readonly kind: 'data'; readonly at: number }
  | { readonly kind: 'packed'; readonly key: Key };

export interface Clusters<Key> {
  /** Bytes. */
  readonly size: number;
  readonly clusterSize: number;
  readonly placeOf: (cluster: number) => Promise<Place<Key>>;
  /** Unpacks a compressed cluster. */
  readonly unpacked: (key: Key) => Promise<Uint8Array>;
  readonly formatError: Parsing['formatError'];
  readonly backing?: BlockBackend;
}

/** A run of bytes of one kind, within a cluster or across several. */
interface Run<Key> {
  readonly place: Place<Key>;
  readonly from: number;
  readonly to: number;
}

/** The disk, read-only. `close` closes the image and the backing device. */
export function clustered<Key>(image: BlockBackend, clusters: Clusters<Key>): BlockBackend {
  const { size, clusterSize, placeOf, unpacked, formatError, backing } = clusters;
  const alignedImage = aligned(image);
  const alignedBacking = backing && aligned(backing);

  async function* runs(offset: number, length: number): AsyncGenerator<Run<Key>> {
    let last: Run<Key> | undefined;
    for (let at = offset, end = offset + length; at < end;) {
      const cluster = Math.floor(at / clusterSize);
      const place = placeWithin(await placeOf(cluster), at % clusterSize);
      const span = place.kind === 'nothing' ? (place.span ?? 1) : 1;
      const to = Math.min(end, (cluster + span) * clusterSize);
      if (last && follows(last, place)) last = { ...last, to };
      else {
        if (last) yield last;
        last = { place, from: at, to };
      }
      at = to;
    }
    if (last) yield last;
  }

  function placeWithin(place: Place<Key>, skipped: number): Place<Key> {
    if (place.kind !== 'data') return place;
    if (place.at >= image.size) throw formatError(`a cluster at byte ${place.at}, and it has ${image.size} bytes`);
    return { kind: 'data', at: place.at + skipped };
  }

  async function readRun(into: Uint8Array, { place, from }: Run<Key>): Promise<void> {
    if (place.kind === 'zero') into.fill(0);
    else if (place.kind === 'nothing') await readUpTo(alignedBacking, into, from);
    // A file may end within its last cluster.
    else if (place.kind === 'data') await readUpTo(alignedImage, into, place.at);
    else into.set((await unpackedOnce(place.key)).subarray(from % clusterSize, (from % clusterSize) + into.length));
  }

  /** The cluster unpacked last, because a cluster may be read in pieces. */
  let recent: { readonly key: Key; readonly bytes: Uint8Array } | undefined;

  async function unpackedOnce(key: Key): Promise<Uint8Array> {
    if (recent?.key !== key) recent = { key, bytes: await unpacked(key) };
    return recent.bytes;
  }

  return {
    size,
    async read(into, offset) {
      checkRange({ size }, offset, into.length);
      for await (const run of runs(offset, into.length))
        await readRun(into.subarray(run.from - offset, run.to - offset), run);
    },
    async extents(offset, length) {
      checkRange({ size }, offset, length);
      const found: Extent[] = [];
      for await (const { place, from, to } of runs(offset, length))
        for (const extent of place.kind === 'nothing'
          ? await backingStates(alignedBacking, from, to)
          : [stateOf(place, from, to)])
          found.push(extent);
      return mergeExtents(found);
    },
    close: async () => {
      await image.close();
      await backing?.close();
    },
  };
}

/** Whether a cluster continues a run, so that one request reads both. */
function follows<Key>({ place: last, from, to }: Run<Key>, place: Place<Key>): boolean {
  if (last.kind === 'data') return place.kind === 'data' && place.at - last.at === to - from;
  return last.kind === place.kind && place.kind !== 'packed';
}

/** Bytes beyond the end of the device read as zeros. */
async function readUpTo(device: BlockBackend | undefined, into: Uint8Array, at: number): Promise<void> {
  const available = Math.max(0, Math.min(into.length, (device?.size ?? 0) - at));
  if (available > 0) await device?.read(into.subarray(0, available), at);
  into.fill(0, available);
}

const stateOf = <Key>({ kind }: Place<Key>, from: number, to: number): Extent => ({
  offset: from,
  length: to - from,
  hole: kind === 'nothing',
  zero: kind === 'nothing' || kind === 'zero',
});

async function backingStates(backing: BlockBackend | undefined, from: number, to: number): Promise<readonly Extent[]> {
  const end = Math.max(from, Math.min(to, backing?.size ?? 0));
  const existing = backing && end > from ? await extentsAt(backing, from, end - from, from) : [];
  return [...existing, stateOf({ kind: 'nothing' }, end, to)];
}

/** Bytes of tables to keep. */
const CACHED_BYTES = 16 << 20;

/** Returns the table at a byte of the image. The most recently used tables are kept. */
export function tablesOf(input: Parsing, length: number): (at: number) => Promise<Buffer> {
  const limit = Math.max(1, Math.floor(CACHED_BYTES / length));
  const cached = new Map<number, Promise<Buffer>>();
  return (at) => {
    const table = cached.get(at) ?? input.bytes(at, length, 'a table');
    cached.delete(at);
    cached.set(at, table);
    table.catch(() => cached.delete(at)); // a later attempt may succeed
    for (const oldest of cached.keys()) {
      if (cached.size <= limit) break;
      cached.delete(oldest);
    }
    return table;
  };
}
