/** Reads all chunks of an image, and says which are missing and which are not what their ids say. */
import { messageOf } from '@nodeos/base';
import { idOf, opener } from '../chunk/seal.js';
import type { ChunkStore } from '../chunks.js';
import type { ChunkRecord, Recipe } from '../recipe/public.js';

export interface Verified {
  /** Each counted once. */
  readonly chunks: number;
  readonly missing: readonly string[];
  /** Other bytes than the id says, or bytes that do not open. */
  readonly invalid: readonly string[];
}

export interface VerifyOptions {
  /** Also opens each chunk. Without keys, only the stored bytes are checked. */
  readonly keys?: readonly Uint8Array[] | undefined;
  /** Stored bytes that are done, and all of them. */
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

/** Chunks that are read at once. */
const READS = 8;

/** @throws errors of the store; the signal's reason */
export async function verify(recipe: Recipe, chunks: ChunkStore, options: VerifyOptions = {}): Promise<Verified> {
  const { keys, progress, signal } = options;
  const canOpen = keys !== undefined || recipe.cipher === 'none';
  const open = await opener(recipe.codec, recipe.blockSize);
  const distinct = new Map(recipe.records.map((record, number) => [record.id, { record, key: keys?.[number] }]));
  const all = [...distinct.values()].reduce((sum, { record }) => sum + record.storedLength, 0);
  const [missing, invalid]: [string[], string[]] = [[], []];
  let done = 0;

  async function check(record: ChunkRecord, key: Uint8Array | undefined): Promise<void> {
    const stored = await chunks.get(record.id, signal);
    if (!stored) missing.push(record.id);
    else if (!(await isRight(stored, record, key))) invalid.push(record.id);
    progress?.((done += record.storedLength), all);
  }

  async function isRight(stored: Uint8Array, record: ChunkRecord, key: Uint8Array | undefined): Promise<boolean> {
    if (stored.length !== record.storedLength || idOf(stored) !== record.id) return false;
    return (
      !canOpen ||
      open(stored, record.rawLength, key).then(
        () => true,
        (error: unknown) => messageOf(error) === '',
      )
    );
  }

  const work = distinct.values();
  const next = async (): Promise<void> => {
    for (const { record, key } of work) {
      signal?.throwIfAborted();
      await check(record, key);
    }
  };
  await Promise.all(Array.from({ length: READS }, () => next()));
  return { chunks: distinct.size, missing: missing.sort(), invalid: invalid.sort() };
}
