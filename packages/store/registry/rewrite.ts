/** Moves chunks out of packs of which little is needed into new ones. */
import { idOf } from '../chunk/seal.js';
import { readBlob, type PackRepository } from './blobs.js';
import type { Location } from './pack-index.js';
import { packWriter } from './pack-writer.js';
import type { NeededChunk, NeededPack } from './survey.js';

/** Bytes of one read. */
const RUN = 8 << 20;
/** Bytes between chunks that are read with them, because another request would take longer. */
const GAP = 64 << 10;

export interface Moved {
  /** Where chunks are now, by id. */
  readonly places: ReadonlyMap<string, Location>;
  readonly bytes: number;
  /** Chunks that are not what their ids say. They stay where they are. */
  readonly damaged: number;
}

/**
 * Each chunk is checked. The new packs are stored, and no image knows of them yet.
 * @throws errors of the registry; the signal's reason
 */
export async function moveChunks(
  repository: PackRepository,
  packs: readonly NeededPack[],
  signal: AbortSignal,
  onBytes: (done: number) => void = () => undefined,
): Promise<Moved> {
  const places = new Map<string, Location>();
  const writer = packWriter(
    repository,
    (id, location) => places.set(id, location),
    () => signal,
  );
  let [bytes, damaged, done] = [0, 0, 0];

  for (const { blob, chunks } of packs)
    for (const run of runsOf(chunks.values())) {
      signal.throwIfAborted();
      const read = await readBlob(repository, blob, run, signal);
      for (const { id, offset, length } of run.chunks) {
        const stored = read.subarray(offset - run.offset, offset - run.offset + length);
        onBytes((done += length));
        if (places.has(id) || writer.isOpen(id)) continue;
        if (idOf(stored) === id) {
          await writer.put(id, stored);
          bytes += length;
        } else damaged++;
      }
    }
  await writer.flush();
  return { places, bytes, damaged };
}

interface Run {
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
  readonly chunks: readonly NeededChunk[];
}

/** Chunks that are read together, in the order of the pack. */
function* runsOf(needed: Iterable<NeededChunk>): Generator<Run> {
  let chunks: NeededChunk[] = [];
  let [start, end] = [0, 0];
  for (const chunk of [...needed].sort((a, b) => a.offset - b.offset)) {
    const isFar = chunk.offset > end + GAP || chunk.offset + chunk.length > start + RUN;
    if (chunks.length > 0 && isFar) {
      yield { offset: start, length: end - start, chunks };
      chunks = [];
    }
    if (chunks.length === 0) [start, end] = [chunk.offset, chunk.offset];
    end = Math.max(end, chunk.offset + chunk.length);
    chunks.push(chunk);
  }
  if (chunks.length > 0) yield { offset: start, length: end - start, chunks };
}
