/**
 * Takes missing outputs from remote caches instead of building them. What is wanted comes first: the inputs of an
 * output that is there are not looked for.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatSize, messageOf } from '@nodeos/base';
import { lockName, remove, type Cache } from '../cache.js';
import { withLock } from '../lock.js';
import { resolvePlan, type Plan, type PlannedStep } from '../plan.js';
import type { Progress } from '../progress.js';
import { Slots } from '../slots.js';
import type { Step } from '../step.js';
import { unpackFiles } from './contents.js';
import { PATIENCE, readContents, readManifest, RemoteDownError, type Patience } from './guarded.js';
import type { OutputId, RemoteCache } from './remote-cache.js';
import { openManifest, UntrustedError, type SharedManifest } from './shared-manifest.js';

export interface Sharing {
  /** In the order in which they are asked. */
  readonly remotes: readonly RemoteCache[];
  /** Names of the keys whose signatures count. */
  readonly trusted: readonly string[];
  readonly patience?: Patience;
}

export interface PullOptions extends Sharing {
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** How many outputs are asked for, and received, at once. */
const AT_ONCE = 4;

/** An output that a remote cache has. */
interface Offer {
  readonly item: PlannedStep;
  readonly remote: RemoteCache;
  readonly manifest: SharedManifest;
}

export const outputId = ({ step, sharedKey }: Pick<PlannedStep, 'step' | 'sharedKey'>): OutputId => ({
  step: step.name,
  target: step.target.name,
  key: sharedKey,
});

/**
 * Fetches what is missing of the wanted steps from the remote caches.
 * @returns the plan of what is left to build
 * @throws the signal's reason; failures of caches are reported as notes
 */
export async function pull(cache: Cache, wanted: readonly Step[], options: PullOptions): Promise<Plan> {
  const puller = new Puller(cache, options);
  for (;;) {
    const plan = await resolvePlan(cache, wanted);
    const offers = await puller.offersFor(plan);
    if (offers.length === 0) return plan;
    await puller.take(offers);
  }
}

class Puller {
  /** Caches that are asked nothing more. */
  readonly #down = new Set<RemoteCache>();
  /** What a cache was asked for in vain. */
  readonly #refused = new Map<RemoteCache, Set<string>>();

  constructor(
    private readonly cache: Cache,
    private readonly options: PullOptions,
  ) {}

  async offersFor(plan: Plan): Promise<Offer[]> {
    const offers: Offer[] = [];
    const slots = new Slots(AT_ONCE);
    const visited = new Map<PlannedStep, Promise<void>>();
    const look = async (item: PlannedStep): Promise<void> => {
      if (item.state !== 'build') return;
      const offer = item.step.isLocal ? undefined : await slots.use(() => this.#offerFor(item));
      if (offer) offers.push(offer);
      else await Promise.all(Object.values(item.inputs).map(once));
    };
    const once = (item: PlannedStep): Promise<void> => {
      const known = visited.get(item) ?? look(item);
      visited.set(item, known);
      return known;
    };
    await Promise.all(plan.wanted.map(({ planned }) => once(planned)));
    return offers;
  }

  async #offerFor(item: PlannedStep): Promise<Offer | undefined> {
    const { signal, trusted, patience = PATIENCE } = this.options;
    const id = outputId(item);
    for (const remote of this.options.remotes) {
      if (this.#down.has(remote) || this.#refused.get(remote)?.has(id.key)) continue;
      try {
        const stored = await readManifest(remote, id, signal, patience);
        if (stored) return { item, remote, manifest: openManifest(stored, id, trusted) };
        this.#refuse(remote, id);
      } catch (error) {
        this.#report(remote, item, error);
      }
    }
    return undefined;
  }

  /** Fetches the outputs, or notes why they cannot be had. */
  async take(offers: readonly Offer[]): Promise<void> {
    const { progress, signal } = this.options;
    progress.event({ type: 'plan', steps: offers.map(({ item }) => ({ ...item, state: 'pull' })) });
    const slots = new Slots(AT_ONCE);
    const notes: (() => void)[] = [];
    await Promise.all(
      offers.map((offer) =>
        slots.use(async () => {
          const { step } = offer.item;
          const started = performance.now();
          progress.event({ type: 'fetch', step, from: offer.remote.name });
          try {
            await this.#fetch(offer);
            progress.event({ type: 'done', step, seconds: (performance.now() - started) / 1000 });
          } catch (error) {
            progress.event({ type: 'failed', step, message: messageOf(error) });
            notes.push(() => this.#report(offer.remote, offer.item, error));
          }
        }),
      ),
    );
    signal.throwIfAborted();
    for (const note of notes) note();
  }

  async #fetch({ item, remote, manifest }: Offer): Promise<void> {
    const { progress, signal, patience = PATIENCE } = this.options;
    const { step, entry, ingredients } = item;
    const onWait = (): void => progress.event({ type: 'output', step, line: 'waiting for another process' });
    await this.cache.ensure();
    await withLock(this.cache.lockPath(lockName(entry)), { signal, onWait }, async () => {
      if ((await this.cache.lookup(entry)).state === 'present') return;
      const dir = await this.cache.begin(entry);
      try {
        const output = join(dir, 'output');
        await mkdir(output);
        const whole = formatSize(manifest.contents.size);
        const onBytes = (bytes: number): void =>
          progress.event({ type: 'output', step, line: `fetched ${formatSize(bytes)} of ${whole}` });
        await readContents(remote, outputId(item), manifest.contents.sha256, signal, patience, (packed, inner) =>
          unpackFiles(packed, manifest, output, inner, onBytes),
        );
        await this.cache.commit(entry, dir, { ingredients, seconds: manifest.seconds });
      } finally {
        await remove(dir).catch(() => undefined); // already gone if it was committed
      }
    });
  }

  #refuse(remote: RemoteCache, { key }: OutputId): void {
    const refused = this.#refused.get(remote) ?? new Set();
    this.#refused.set(remote, refused.add(key));
  }

  /** Says in one line what is wrong with a cache. What went wrong with the local disk is an error. */
  #report(remote: RemoteCache, item: PlannedStep, error: unknown): void {
    const { progress, signal } = this.options;
    signal.throwIfAborted();
    const note = (message: string): void => progress.event({ type: 'note', message });
    if (error instanceof UntrustedError) {
      this.#refuse(remote, outputId(item));
      note(`${remote.name}: ${item.step.name} is not used: ${messageOf(error)}`);
    } else if (error instanceof RemoteDownError) {
      if (!this.#down.has(remote)) note(`${remote.name} is skipped: ${messageOf(error)}`);
      this.#down.add(remote);
    } else throw error;
  }
}
