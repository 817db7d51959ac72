/** What a reader of a store is doing: counted by tier, as numbers and as text for Prometheus. */
import type { TierEvent } from './tiers/tiers.js';

export interface TierCounts {
  hit: number;
  bytes: number;
  missing: number;
  invalid: number;
  failed: number;
}

export interface Stats {
  readonly tiers: ReadonlyMap<string, Readonly<TierCounts>>;
  /** Requests for blocks that are being answered now. */
  readonly waiting: number;
  /** Blocks that were unpacked. */
  readonly blocks: number;
}

export interface Counting extends Stats {
  readonly count: (event: TierEvent) => void;
  /** Counts a block while it is fetched. */
  readonly during: <T>(work: () => Promise<T>) => Promise<T>;
}

export function counting(): Counting {
  const tiers = new Map<string, TierCounts>();
  let [waiting, blocks] = [0, 0];
  return {
    tiers,
    get waiting() {
      return waiting;
    },
    get blocks() {
      return blocks;
    },
    count(event) {
      const counts = tiers.get(event.tier) ?? { hit: 0, bytes: 0, missing: 0, invalid: 0, failed: 0 };
      tiers.set(event.tier, counts);
      counts[event.event]++;
      if (event.event === 'hit') counts.bytes += event.bytes;
    },
    async during(work) {
      waiting++;
      try {
        return await work();
      } finally {
        waiting--;
        blocks++;
      }
    },
  };
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function prometheus({ tiers, waiting, blocks }: Stats): string {
  const label = (tier: string): string =>
    `{tier="${tier.replace(/[\\"\n]/g, (one) => (one === '\n' ? '\\n' : `\\${one}`))}"}`;
  const rows = [...tiers];
  const metric = (name: string, help: string, kind: string, lines: readonly string[]): string[] => [
    `# HELP nodeos_store_${name} ${help}`,
    `# TYPE nodeos_store_${name} ${kind}`,
    ...lines.map((line) => `nodeos_store_${name}${line}`),
  ];
  const byTier = (name: string, help: string, value: (counts: TierCounts) => number): string[] =>
    metric(
      name,
      help,
      'counter',
      rows.map(([tier, counts]) => `${label(tier)} ${value(counts)}`),
    );
  return (
    [
      ...byTier('hits_total', 'Chunks that a tier has given.', ({ hit }) => hit),
      ...byTier('bytes_total', 'Stored bytes that a tier has given.', ({ bytes }) => bytes),
      ...byTier('missing_total', 'Chunks that a tier did not have.', ({ missing }) => missing),
      ...byTier('invalid_total', 'Chunks that were not what their ids say.', ({ invalid }) => invalid),
      ...byTier('failed_total', 'Requests that ended with an error.', ({ failed }) => failed),
      ...metric('blocks_total', 'Blocks that were unpacked.', 'counter', [` ${blocks}`]),
      ...metric('waiting', 'Blocks that somebody waits for.', 'gauge', [` ${waiting}`]),
    ].join('\n') + '\n'
  );
}
