/**
 * Devices that several threads have open at the same time. A device that can be is registered with a recipe: what another
 * thread needs to open it as well. What both do is as if one had done it: what one has written the other reads, and a
 * flush by the one who registered it covers both.
 *
 * Recipes are kept beside the devices and are no property of them: a wrapper or a copy that adds something of its own
 * has none unless it asks for one, so that nothing is passed by.
 */
import type { BlockBackend, MaybePromise } from './backend.js';

/** Can be sent to another thread. */
export interface Recipe {
  /** The URL of a module, */
  readonly module: string;
  /** of which this function opens the device */
  readonly name: string;
  /** with this. */
  readonly from: unknown;
}

const recipes = new WeakMap<BlockBackend, () => Recipe>();

/**
 * Says how other threads open the device. It stays open here as long as it is open there, and is neither flushed nor
 * resized there.
 */
export function shareable<B extends BlockBackend>(device: B, recipe: (() => Recipe) | undefined): B {
  if (recipe) recipes.set(device, recipe);
  return device;
}

/** @returns undefined if the device is for one thread only */
export const recipeOf = (device: BlockBackend): (() => Recipe) | undefined => recipes.get(device);

/** The recipe of a wrapper: opens what it wraps, and wraps it there. */
export function wrapping(inner: BlockBackend, module: string, name: string, args: object): (() => Recipe) | undefined {
  const recipe = recipeOf(inner);
  return recipe && (() => ({ module, name, from: { ...args, inner: recipe() } }));
}

/** Opens what another thread has open. Its `close` leaves the device open for the others. */
export async function openShared({ module, name, from }: Recipe): Promise<BlockBackend> {
  const { [name]: open } = (await import(module)) as Record<string, (from: unknown) => MaybePromise<BlockBackend>>;
  if (!open) throw new Error(`${module} has no ${name}`);
  return open(from);
}
