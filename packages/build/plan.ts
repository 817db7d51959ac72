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

/**
 * @returns the steps that are needed, inputs first: the wanted ones, and the inputs of those that must be built. The
 * inputs of a cached step are not needed, and need not be in the cache.
 */
export async function planOf(cache: Cache, wanted: readonly Step[]): Promise<PlannedStep[]> {
  const planned = new Map<Step, PlannedStep>();
  const byKey = new Map<string, PlannedStep>();
  const needed = new Set<PlannedStep>();

  const planStep = async (step: Step, path: readonly Step[]): Promise<PlannedStep> => {
    const known = planned.get(step);
    if (known) return known;
    if (path.includes(step)) throw new Error(`steps depend on themselves: ${path.map((s) => s.name).join(' → ')}`);
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
  for (const step of wanted) need(await planStep(step, []));
  return [...needed];
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
  if (found.state === 'corrupt') return { entry, state: 'build', reasons: [`its cache entry is damaged: ${found.reason}`] };
  const latest = await cache.latest(step);
  const reasons = latest ? difference(latest.ingredients, ingredients) : ['it is not in the cache'];
  return { entry, state: 'build', reasons: reasons.length > 0 ? reasons : ['it is no longer in the cache'] };
}
