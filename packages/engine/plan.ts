/** Which steps a build needs, their keys, and why a step is built rather than taken from the cache. */
import type { Cache, Entry } from './cache.js';
import { difference, ingredientsOf, keyOf, type Ingredients } from './key.js';
import type { Step } from './step.js';

export interface PlannedStep {
  readonly step: Step;
  readonly ingredients: Ingredients;
  readonly key: string;
  readonly entry: Entry;
  readonly inputs: Readonly<Record<string, PlannedStep>>;
  readonly state: 'cached' | 'build';
  /** Why it is built; empty if it is cached. */
  readonly reasons: readonly string[];
}

export interface Plan {
  /** The steps that are needed, inputs first. */
  readonly steps: readonly PlannedStep[];
  /** The wanted steps, in their order. Two that have the same key have the same `planned`. */
  readonly wanted: readonly { readonly step: Step; readonly planned: PlannedStep }[];
}

/**
 * @returns the steps that are needed, inputs first: the wanted ones, and the inputs of those that must be built. The
 * inputs of a cached step are not needed, and need not be in the cache.
 */
export async function planOf(cache: Cache, wanted: readonly Step[]): Promise<readonly PlannedStep[]> {
  return (await resolvePlan(cache, wanted)).steps;
}

/** As `planOf`, and says which planned step stands for each wanted one. */
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
    // The name is part of paths, and of the names of locks and temporary folders.
    if (!/^[A-Za-z0-9-]+$/.test(step.name)) throw new Error(`step name "${step.name}": expected letters, digits, "-"`);
    const inputs: Record<string, PlannedStep> = {};
    for (const [name, input] of Object.entries(step.inputs ?? {})) {
      inputs[name] = await planStep(input, [...path, step]);
    }
    const inputKeys = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.key]));
    const ingredients = await ingredientsOf(step, inputKeys);
    const key = keyOf(ingredients);
    const twin = byKey.get(key); // two descriptions of the same thing are built once
    const result = twin ?? { step, ingredients, key, inputs, ...(await stateOf(cache, step, key, ingredients)) };
    planned.set(step, result);
    byKey.set(key, result);
    return result;
  };

  const need = (item: PlannedStep): void => {
    if (needed.has(item)) return;
    if (item.state === 'build') Object.values(item.inputs).forEach(need);
    needed.add(item);
  };
  const chosen: { step: Step; planned: PlannedStep }[] = [];
  for (const step of wanted) {
    const item = await planStep(step, []);
    need(item);
    chosen.push({ step, planned: item });
  }
  return { steps: [...needed], wanted: chosen };
}

async function stateOf(
  cache: Cache,
  step: Step,
  key: string,
  ingredients: Ingredients,
): Promise<Pick<PlannedStep, 'entry' | 'state' | 'reasons'>> {
  const entry = cache.entry(step, key);
  const found = await cache.lookup(entry);
  if (found.state === 'present') return { entry, state: 'cached', reasons: [] };
  if (found.state === 'corrupt')
    return { entry, state: 'build', reasons: [`its cache entry is damaged: ${found.reason}`] };
  const latest = await cache.latest(step);
  const reasons = latest ? difference(latest.ingredients, ingredients) : ['it is not in the cache'];
  return { entry, state: 'build', reasons: reasons.length > 0 ? reasons : ['it is no longer in the cache'] };
}
