/** Plans a build: which steps it needs, their keys, and why a step is built rather than taken from the cache. */
import type { Cache, Entry } from './cache.js';
import { difference, ingredientsOf, keyOf, sharedKeyOf, type Ingredients, type Modules } from './key.js';
import type { Step } from './step.js';

interface KeyedStep {
  readonly step: Step;
  readonly ingredients: Ingredients;
  readonly key: string;
  /** The key that other machines have for the same output. */
  readonly sharedKey: string;
  readonly entry: Entry;
  readonly inputs: Readonly<Record<string, KeyedStep>>;
}

export interface PlannedStep extends KeyedStep {
  /** The inputs of a step that is built. Of others, only with `PlanOptions.all`. */
  readonly inputs: Readonly<Record<string, PlannedStep>>;
  /** `pull`: a remote cache has it. */
  readonly state: 'cached' | 'build' | 'pull';
  /** How long it took to build what is in the cache, in seconds. */
  readonly seconds?: number;
  /** Why the step is built; empty if it is cached. */
  readonly reasons: readonly string[];
}

export interface Plan {
  /** The needed steps, inputs first. */
  readonly steps: readonly PlannedStep[];
  /** The wanted steps, in the order wanted. Two steps with the same key share one `planned`. */
  readonly wanted: readonly { readonly step: Step; readonly planned: PlannedStep }[];
}

export interface PlanOptions {
  /** Also plans the inputs of steps that are cached. */
  readonly all?: boolean;
}

/**
 * Plans the wanted steps and the inputs of every step that must be built. The inputs of a cached step are not needed
 * and may be missing from the cache.
 * @returns the needed steps, inputs first
 * @throws Error if steps depend on each other in a circle, or a step's name is invalid
 */
export async function planOf(cache: Cache, wanted: readonly Step[]): Promise<readonly PlannedStep[]> {
  return (await resolvePlan(cache, wanted)).steps;
}

/** Like `planOf`, and also maps each wanted step to its planned step. */
export async function resolvePlan(
  cache: Cache,
  wanted: readonly Step[],
  { all = false }: PlanOptions = {},
): Promise<Plan> {
  const keys = new Keys(cache);
  const planned = new Map<string, PlannedStep>(); // two descriptions of the same output are built once
  const plan = async ({ inputs, ...keyed }: KeyedStep): Promise<PlannedStep> => {
    const known = planned.get(keyed.key);
    if (known) return known;
    const state = await stateOf(cache, keyed);
    const needed: Record<string, PlannedStep> = {};
    if (all || state.state === 'build')
      for (const [name, input] of Object.entries(inputs)) needed[name] = await plan(input);
    const item = { ...keyed, ...state, inputs: needed };
    planned.set(keyed.key, item);
    return item;
  };
  const chosen: { step: Step; planned: PlannedStep }[] = [];
  for (const step of wanted) chosen.push({ step, planned: await plan(await keys.of(step, [])) });
  return { steps: [...planned.values()], wanted: chosen };
}

/** The keys of steps, and of all that goes into them. */
class Keys {
  readonly #known = new Map<Step, KeyedStep>();
  readonly #modules: Modules = new Map();

  constructor(private readonly cache: Cache) {}

  /** @param path the steps that led to this one */
  async of(step: Step, path: readonly Step[]): Promise<KeyedStep> {
    const known = this.#known.get(step);
    if (known) return known;
    if (path.includes(step)) {
      throw new Error(`steps depend on themselves: ${[...path, step].map((s) => s.name).join(' → ')}`);
    }
    // The name becomes part of paths and of the names of locks and temporary folders.
    if (!/^[A-Za-z0-9-]+$/.test(step.name)) throw new Error(`step name "${step.name}": expected letters, digits, "-"`);
    const inputs: Record<string, KeyedStep> = {};
    for (const [name, input] of Object.entries(step.inputs ?? {})) inputs[name] = await this.of(input, [...path, step]);
    const named = (key: 'key' | 'sharedKey'): Record<string, string> =>
      Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input[key]]));
    const ingredients = await ingredientsOf(step, named('key'), this.#modules);
    const key = keyOf(ingredients);
    const sharedKey = sharedKeyOf(ingredients, named('sharedKey'));
    const keyed = { step, ingredients, key, sharedKey, inputs, entry: this.cache.entry(step, key) };
    this.#known.set(step, keyed);
    return keyed;
  }
}

async function stateOf(
  cache: Cache,
  { step, entry, ingredients }: Omit<KeyedStep, 'inputs'>,
): Promise<Pick<PlannedStep, 'state' | 'reasons' | 'seconds'>> {
  const found = await cache.lookup(entry);
  if (found.state === 'present') return { state: 'cached', reasons: [], seconds: found.manifest.seconds };
  if (found.state === 'corrupt') return { state: 'build', reasons: [`its cache entry is damaged: ${found.reason}`] };
  const latest = await cache.latest(step);
  const reasons = latest ? difference(latest.ingredients, ingredients) : ['it is not in the cache'];
  return { state: 'build', reasons: reasons.length > 0 ? reasons : ['it is no longer in the cache'] };
}
