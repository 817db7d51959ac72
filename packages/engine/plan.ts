/** Plans a build: which steps it needs, their keys, and why a step is built rather than taken from the cache. */
import type { Cache, Entry } from './cache.js';
import { difference, ingredientsOf, keyOf, sharedKeyOf, type Ingredients } from './key.js';
import type { Step } from './step.js';

export interface PlannedStep {
  readonly step: Step;
  readonly ingredients: Ingredients;
  readonly key: string;
  /** The key that other machines have for the same output. */
  readonly sharedKey: string;
  readonly entry: Entry;
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
export async function resolvePlan(cache: Cache, wanted: readonly Step[]): Promise<Plan> {
  const planned = new Map<Step, PlannedStep>();
  const byKey = new Map<string, PlannedStep>();
  const needed = new Set<PlannedStep>();

  const planStep = async (step: Step, path: readonly Step[]): Promise<PlannedStep> => {
    const known = planned.get(step);
    if (known) return known;
    if (path.includes(step)) {
      throw new Error(`steps depend on themselves: ${[...path, step].map((s) => s.name).join(' → ')}`);
    }
    // The name becomes part of paths and of the names of locks and temporary folders.
    if (!/^[A-Za-z0-9-]+$/.test(step.name)) throw new Error(`step name "${step.name}": expected letters, digits, "-"`);
    const inputs: Record<string, PlannedStep> = {};
    for (const [name, input] of Object.entries(step.inputs ?? {})) {
      inputs[name] = await planStep(input, [...path, step]);
    }
    const inputKeys = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.key]));
    const ingredients = await ingredientsOf(step, inputKeys);
    const key = keyOf(ingredients);
    const duplicate = byKey.get(key); // two descriptions of the same output are built once
    const sharedKeys = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.sharedKey]));
    const sharedKey = sharedKeyOf(ingredients, sharedKeys);
    const state = duplicate ?? (await stateOf(cache, step, key, ingredients));
    const result = duplicate ?? { step, ingredients, key, sharedKey, inputs, ...state };
    planned.set(step, result);
    byKey.set(key, result);
    return result;
  };

  const markNeeded = (item: PlannedStep): void => {
    if (needed.has(item)) return;
    if (item.state === 'build') Object.values(item.inputs).forEach(markNeeded);
    needed.add(item);
  };
  const chosen: { step: Step; planned: PlannedStep }[] = [];
  for (const step of wanted) {
    const item = await planStep(step, []);
    markNeeded(item);
    chosen.push({ step, planned: item });
  }
  return { steps: [...needed], wanted: chosen };
}

async function stateOf(
  cache: Cache,
  step: Step,
  key: string,
  ingredients: Ingredients,
): Promise<Pick<PlannedStep, 'entry' | 'state' | 'reasons' | 'seconds'>> {
  const entry = cache.entry(step, key);
  const found = await cache.lookup(entry);
  if (found.state === 'present') return { entry, state: 'cached', reasons: [], seconds: found.manifest.seconds };
  if (found.state === 'corrupt')
    return { entry, state: 'build', reasons: [`its cache entry is damaged: ${found.reason}`] };
  const latest = await cache.latest(step);
  const reasons = latest ? difference(latest.ingredients, ingredients) : ['it is not in the cache'];
  return { entry, state: 'build', reasons: reasons.length > 0 ? reasons : ['it is no longer in the cache'] };
}
