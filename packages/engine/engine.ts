/**
 * The engine runs the steps of a plan. Independent steps run at the same time. Each step works in a temporary folder,
 * which becomes its cache entry by one rename. If another process is building a step, the engine waits for it.
 */
import { setMaxListeners } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Cache, lockName, remove } from './cache.js';
import { codeOf, InterruptedError, messageOf, NodeosError } from '@nodeos/base';
import type { Artifact } from './artifact.js';
import { fetchSource } from './fetch.js';
import { withLock } from './lock.js';
import { resolvePlan, type Plan, type PlannedStep } from './plan.js';
import type { Progress } from './progress.js';
import { run } from './run.js';
import { pull, type Sharing } from './shared/pull.js';
import { Slots } from './slots.js';
import type { Step, StepContext } from './step.js';
import { storageAdvice } from './storage-advice.js';

export interface BuildOptions {
  readonly cache?: Cache;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
  /** The number of steps that run at once, and the number of jobs that each step may use. */
  readonly jobs: number;
  /** Called with the steps that are to be built, before the first starts. What it throws ends the build. */
  readonly check?: (steps: readonly Step[]) => void;
  /** Remote caches. Default: none. */
  readonly sharing?: Sharing;
}

export interface Built {
  readonly step: Step;
  readonly key: string;
  /** The output folder in the cache. Read it, never write to it. */
  readonly output: string;
  readonly cached: boolean;
}

/** The outputs of a build, made now or taken from the cache. */
export class BuildResult {
  /** @param steps one entry per wanted step, in the order wanted */
  constructor(readonly steps: readonly Built[]) {}

  /** The path of an artifact. @throws Error if its step was not among the wanted ones */
  path({ step, file }: Artifact): string {
    return join(this.outputOf(step), file);
  }

  /** The output folder of a step. @throws Error if the step was not among the wanted ones */
  outputOf(step: Step): string {
    const built = this.steps.find((built) => built.step === step);
    if (built) return built.output;
    throw new Error(`${step.name} was not asked to be built`);
  }
}

/**
 * Builds the wanted steps.
 * @throws NodeosError if a step fails; the other steps are ended and no unfinished output stays
 */
export async function build(wanted: readonly Step[], options: BuildOptions): Promise<BuildResult> {
  const cache = options.cache ?? new Cache();
  const { steps: plan, wanted: chosen } = await planned(cache, wanted, options);
  options.progress.event({ type: 'plan', steps: plan });
  options.check?.(plan.filter(({ state }) => state === 'build').map(({ step }) => step));
  const failed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;
  setMaxListeners(0, signal); // each running tool adds a listener
  const slots = new Slots(Math.max(1, options.jobs));

  const running = new Map<PlannedStep, Promise<void>>();
  for (const item of plan) {
    if (item.state === 'cached') {
      running.set(item, cache.touch(item.entry));
      continue;
    }
    // The plan lists inputs first, so they are already running.
    const inputs = Object.values(item.inputs).map((input) => running.get(input) ?? Promise.resolve());
    const work = Promise.all(inputs).then(() => slots.use(() => new StepRun(cache, item, options, signal).run()));
    running.set(
      item,
      work.catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
  }
  const results = await Promise.allSettled(running.values());
  options.signal?.throwIfAborted();
  // The first failure aborted the other steps, so its reason is the one to report.
  if (results.some((result) => result.status === 'rejected')) throw failed.signal.reason;

  return new BuildResult(
    chosen.map(({ step, planned: { key, entry, state } }) => {
      return { step, key, output: entry.output, cached: state === 'cached' };
    }),
  );
}

/** What is left to build when the remote caches have been asked. */
function planned(cache: Cache, wanted: readonly Step[], { sharing, progress, signal }: BuildOptions): Promise<Plan> {
  if (!sharing || sharing.remotes.length === 0) return resolvePlan(cache, wanted);
  return pull(cache, wanted, { ...sharing, progress, signal: signal ?? new AbortController().signal });
}

/**
 * Builds a step once more, and compares the result with the cache.
 * @param item a step whose output is in the cache; its inputs are built if they are missing
 * @returns the first difference; undefined if there is none
 * @throws NodeosError if the output is not in the cache, or damaged, or the step fails
 */
export async function rebuild(cache: Cache, item: PlannedStep, options: BuildOptions): Promise<string | undefined> {
  const damage = await cache.verify(item.entry);
  if (damage !== undefined) throw new NodeosError(`${item.step.name} cannot be compared: ${damage}`);
  await build(Object.values(item.step.inputs ?? {}), options);
  options.progress.event({ type: 'plan', steps: [{ ...item, state: 'build' }] });
  const signal = options.signal ?? new AbortController().signal;
  return new StepRun(cache, item, options, signal).compare();
}

/** One run of one step. */
class StepRun {
  readonly #log: string;

  constructor(
    private readonly cache: Cache,
    private readonly item: PlannedStep,
    private readonly options: BuildOptions,
    private readonly signal: AbortSignal,
  ) {
    this.#log = cache.logPath(item.step, item.key);
  }

  run(): Promise<void> {
    return this.#reported(this.item.reasons, async () => {
      const found = await this.cache.lookup(this.item.entry);
      if (found.state !== 'present') await this.#make((dir, result) => this.cache.commit(this.item.entry, dir, result));
    });
  }

  /** Builds the output, and compares it with the one in the cache. @returns the first difference */
  async compare(): Promise<string | undefined> {
    let difference: string | undefined;
    await this.#reported(['it is compared with the cache'], () =>
      this.#make(async (dir) => (difference = await this.cache.compare(this.item.entry, join(dir, 'output')))),
    );
    return difference;
  }

  async #reported(reasons: readonly string[], work: () => Promise<void>): Promise<void> {
    const { step, entry } = this.item;
    this.signal.throwIfAborted();
    this.options.progress.event({ type: 'start', step, reasons });
    const onWait = (): void => this.#report('waiting for another process that is building it');
    const started = performance.now();
    try {
      await this.cache.ensure();
      await withLock(this.cache.lockPath(lockName(entry)), { signal: this.signal, onWait }, work);
    } catch (error) {
      // After the signal is aborted, failures are only consequences. The cause is reported where it happened.
      const event = this.signal.aborted
        ? { type: 'stopped' as const }
        : { type: 'failed' as const, message: messageOf(error) };
      this.options.progress.event({ ...event, step });
      throw this.#explained(error);
    }
    this.options.progress.event({ type: 'done', step, seconds: (performance.now() - started) / 1000 });
  }

  /** Makes the output in a temporary folder. The caller holds the step's lock. */
  async #make(use: (dir: string, result: Parameters<Cache['commit']>[2]) => Promise<unknown>): Promise<void> {
    const { step, entry, ingredients } = this.item;
    const started = performance.now();
    await this.cache.ensure('logs');
    await rm(this.#log, { force: true });
    const dir = await this.cache.begin(entry);
    try {
      await mkdir(join(dir, 'output'));
      await mkdir(join(dir, 'work'));
      await step.build(this.#context(dir));
      this.signal.throwIfAborted();
      await remove(join(dir, 'work'));
      await use(dir, { ingredients, seconds: (performance.now() - started) / 1000 });
    } finally {
      await remove(dir).catch(() => undefined); // already gone if it was committed
    }
  }

  #context(dir: string): StepContext {
    const { step, inputs } = this.item;
    const { cache, signal } = this;
    const progress = (message: string): void => this.#report(message);
    const lookUp = <T>(table: Readonly<Record<string, T>> | undefined, kind: string, name: string): T => {
      const value = table?.[name];
      if (value === undefined) throw new Error(`${step.name} has no ${kind} called ${name}`);
      return value;
    };
    return {
      dir: join(dir, 'output'),
      work: join(dir, 'work'),
      target: step.target,
      jobs: this.options.jobs,
      signal,
      progress,
      input: (name) => lookUp(inputs, 'input', name).entry.output,
      file: (name) => lookUp(step.files, 'file', name),
      fetch: (name) => fetchSource(cache, lookUp(step.sources, 'source', name), { signal, progress }),
      run: (command, args, options) =>
        run(command, args, { cwd: join(dir, 'work'), signal, log: this.#log, onLine: progress, ...options }),
    };
  }

  #report(line: string): void {
    this.options.progress.event({ type: 'output', step: this.item.step, line });
  }

  /** Adds the step's name, and advice if the disk is full or read-only. */
  #explained(error: unknown): unknown {
    if (error instanceof InterruptedError || this.signal.aborted) return error;
    const nodeosError = error instanceof NodeosError ? error : undefined;
    const hint = nodeosError?.hint ?? storageAdvice(error);
    // A bug in a recipe needs its stack trace. A storage error needs advice.
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const text = nodeosError || codeOf(error) !== undefined ? messageOf(error) : stack;
    return new NodeosError(`${this.item.step.name}: ${text}`, {
      lines: nodeosError?.lines ?? [],
      cause: error,
      ...(nodeosError?.log === undefined ? {} : { log: nodeosError.log }),
      ...(hint === undefined ? {} : { hint }),
    });
  }
}
