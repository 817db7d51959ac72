/** Asks again while a store does not answer: a root filesystem that gets an error is lost, one that waits is not. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChunkStore } from '../chunks.js';

export interface PatienceOptions {
  /** Milliseconds after which an error is passed on. Default 60 s. */
  readonly patience?: number;
  /** Told of the first failure of a request, and when the store answers again. */
  readonly onTrouble?: (error: unknown) => void;
}

/** Milliseconds between two attempts: the first pause, doubled up to the last. */
const [FIRST, LAST] = [50, 3000];

/** `inner`, whose `get` is repeated after any error. What is missing is missing at once. */
export function patient(inner: ChunkStore, { patience = 60_000, onTrouble }: PatienceOptions = {}): ChunkStore {
  async function get(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const end = Date.now() + patience;
    for (let pause = FIRST; ; pause = Math.min(pause * 2, LAST)) {
      try {
        return await inner.get(id, signal);
      } catch (error) {
        if (pause === FIRST) onTrouble?.(error);
        if (signal?.aborted || Date.now() + pause > end) throw error;
        await sleep(pause / 2 + (Math.random() * pause) / 2, undefined, signal ? { signal } : {});
      }
    }
  }
  return { ...inner, get };
}
