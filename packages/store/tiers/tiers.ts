/**
 * Several stores as one: the nearest first. What a farther one gives is checked by its id and kept in the nearer ones.
 * A chunk that is missing is asked of the next; one that is not what its id says is reported, set aside where that can
 * be done, and asked of the next.
 */
import { messageOf, NodeosError } from '@nodeos/base';
import { idOf } from '../chunk/seal.js';
import type { ChunkStore } from '../chunks.js';

export interface Tier extends ChunkStore {
  /** Takes what a farther tier has given. Absent: this one is not filled. */
  keep?(id: string, stored: Uint8Array): Promise<void> | void;
  /** Sets a chunk aside that is not what its id says. */
  quarantine?(id: string): Promise<void>;
}

export type TierEvent =
  | { readonly event: 'hit'; readonly tier: string; readonly id: string; readonly bytes: number }
  | { readonly event: 'missing'; readonly tier: string; readonly id: string }
  | { readonly event: 'invalid'; readonly tier: string; readonly id: string }
  | { readonly event: 'failed'; readonly tier: string; readonly id: string; readonly error: unknown };

export interface TiersOptions {
  readonly onEvent?: (event: TierEvent) => void;
}

/** `get`, of which readers of the same chunk at the same time share one request. */
export function shared(
  get: (id: string) => Promise<Uint8Array | undefined>,
): (id: string) => Promise<Uint8Array | undefined> {
  const under = new Map<string, Promise<Uint8Array | undefined>>();
  return (id) => {
    const found = under.get(id);
    if (found) return found;
    const work = get(id).finally(() => under.delete(id));
    under.set(id, work);
    return work;
  };
}

/**
 * @throws NodeosError from `get`, with what each tier said, if no tier has given the chunk and not all of them said that
 * it is missing
 */
export function tiered(tiers: readonly Tier[], { onEvent = () => undefined }: TiersOptions = {}): ChunkStore {
  const name = tiers.map((tier) => tier.name).join(', ');

  /** The chunk from the first tier that has it whole. */
  async function fetch(id: string): Promise<Uint8Array | undefined> {
    const problems: string[] = [];
    for (const [number, tier] of tiers.entries()) {
      const found = await ask(tier, id, problems);
      if (!found) continue;
      onEvent({ event: 'hit', tier: tier.name, id, bytes: found.length });
      for (const nearer of tiers.slice(0, number)) keepIn(nearer, id, found);
      return found;
    }
    if (problems.length === 0) return undefined;
    throw new NodeosError(`no store has given the chunk ${id}: ${problems.join('; ')}`);
  }

  async function ask(tier: Tier, id: string, problems: string[]): Promise<Uint8Array | undefined> {
    try {
      const found = await tier.get(id);
      if (!found) onEvent({ event: 'missing', tier: tier.name, id });
      if (!found || tier.isChecked === true || idOf(found) === id) return found;
    } catch (error) {
      problems.push(`${tier.name}: ${messageOf(error)}`);
      onEvent({ event: 'failed', tier: tier.name, id, error });
      return undefined;
    }
    problems.push(`${tier.name}: it gave other bytes`);
    onEvent({ event: 'invalid', tier: tier.name, id });
    await tier.quarantine?.(id).catch((error: unknown) => onEvent({ event: 'failed', tier: tier.name, id, error }));
    return undefined;
  }

  /** Nobody waits for it, and a full disk stops no reader. */
  function keepIn(tier: Tier, id: string, found: Uint8Array): void {
    void Promise.resolve(tier.keep?.(id, found)).catch((error: unknown) =>
      onEvent({ event: 'failed', tier: tier.name, id, error }),
    );
  }

  return {
    name,
    isChecked: true,
    async has(id, length) {
      for (const tier of tiers) if (await tier.has(id, length).catch(() => false)) return true;
      return false;
    },
    get: shared(fetch),
    async close() {
      for (const tier of tiers) await tier.close?.();
    },
  };
}
