/**
 * Chunks by id. A store keeps them in `chunks/XX/ID`; those that no image needs are moved to `condemned/XX/ID` first,
 * and deleted from there later (care/gc.ts). Whoever asks for one of them before that takes it back.
 */
import { isPrunable, type Place, type PrunablePlace, type WritablePlace } from '@nodeos/places';
import { MAX_STORED } from './recipe/public.js';

export interface ChunkStore {
  /** Shown to the user. */
  readonly name: string;
  /** @param length stored bytes: a chunk of another length was cut off by a crash, and counts as missing */
  has(id: string, length?: number): Promise<boolean>;
  /** `get` gives nothing but what the id says. Absent: nobody has checked it. */
  readonly isChecked?: boolean;
  /**
   * @returns the stored bytes; undefined if the chunk is missing
   * @throws errors of the disk or the network
   */
  get(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  close?(): Promise<void> | void;
}

export interface WritableChunkStore extends ChunkStore {
  /** Durable after `sync`, if there is one. */
  put(id: string, stored: Uint8Array): Promise<void>;
}

export interface PrunableChunkStore extends WritableChunkStore {
  list(): AsyncIterable<{ readonly id: string; readonly size: number; readonly modified: number }>;
  delete(id: string): Promise<void>;
}

export const CHUNKS = 'chunks';
export const CONDEMNED = 'condemned';
/** Notes that somebody has read a condemned chunk, named after its id. */
export const STOPPED = 'collection-stopped';
export const pathOfChunk = (id: string, folder: string = CHUNKS): string => `${folder}/${id.slice(0, 2)}/${id}`;
/** The id in a path; undefined if it is of something else. */
export const idInPath = (path: string): string | undefined => /\/([0-9a-f]{64})$/.exec(path)?.[1];

/** Told when a condemned chunk was asked for, which keeps it. */
export type OnRescued = (id: string) => void;

export function chunkStore(place: PrunablePlace, onRescued?: OnRescued): PrunableChunkStore;
export function chunkStore(place: WritablePlace, onRescued?: OnRescued): WritableChunkStore;
export function chunkStore(place: Place, onRescued?: OnRescued): ChunkStore;
export function chunkStore(place: Place, onRescued: OnRescued = () => undefined): ChunkStore {
  /** @returns whether the chunk was condemned, and is back */
  async function rescue(id: string): Promise<boolean> {
    if (!place.move || !(await place.move(pathOfChunk(id, CONDEMNED), pathOfChunk(id)))) return false;
    onRescued(id);
    return true;
  }

  async function has(id: string, length?: number): Promise<boolean> {
    const isWhole = async (): Promise<boolean> => {
      const size = await place.size(pathOfChunk(id));
      return size !== undefined && (length === undefined || size === length);
    };
    if (await isWhole()) return true;
    await rescue(id);
    return isWhole(); // also if somebody else has taken it back meanwhile
  }

  async function get(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const from = (folder: string): Promise<Uint8Array | undefined> =>
      place.get(pathOfChunk(id, folder), MAX_STORED, signal);
    const found = await from(CHUNKS);
    if (found) return found;
    if (!place.move) return from(CONDEMNED); // a place that only reads cannot take it back
    if (await rescue(id)) await place.put?.(`${STOPPED}/${id}`, Buffer.from(new Date().toISOString()));
    return from(CHUNKS);
  }

  return {
    name: place.name,
    has,
    get,
    ...(place.put && { put: (id: string, stored: Uint8Array) => place.put?.(pathOfChunk(id), stored) }),
    ...(isPrunable(place) && {
      async *list() {
        for await (const { path, ...rest } of place.list(CHUNKS)) {
          const id = idInPath(path);
          if (id !== undefined) yield { id, ...rest };
        }
      },
      delete: (id: string) => place.delete(pathOfChunk(id)),
    }),
    close: () => place.close?.(),
  };
}
