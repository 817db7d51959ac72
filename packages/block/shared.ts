/**
 * Devices that several threads have open at the same time. A device that supports this is registered with a recipe: the
 * data that another thread needs to open it as well. Threads see each other's writes, and a flush by the thread that
 * registered the device covers the writes of all.
 *
 * Recipes are kept beside the devices and are not properties of them. So a wrapper or a copy that adds something has no
 * recipe unless it asks for one, and no thread can bypass what it adds.
 */
import type { BlockBackend, MaybePromise } from './backend.js';

/** Can be sent to another thread. */
export interface Recipe {
  /** The URL of the module that opens the device. */
  readonly module: string;
  /** The exported function of that module. */
  readonly name: string;
  /** The argument of that function. */
  readonly args: unknown;
}

const recipes = new WeakMap<BlockBackend, () => Recipe>();

/**
 * Registers how other threads open the device. The device must stay open on this thread as long as it is open on
 * others, and others neither flush nor resize it.
 */
export function shareable<B extends BlockBackend>(device: B, recipe: (() => Recipe) | undefined): B {
  if (recipe) recipes.set(device, recipe);
  return device;
}

/** @returns undefined if only one thread can use the device */
export const recipeOf = (device: BlockBackend): (() => Recipe) | undefined => recipes.get(device);

/** The recipe of a wrapper: it opens the inner device and wraps it again in the other thread. */
export function wrapping(inner: BlockBackend, module: string, name: string, args: object): (() => Recipe) | undefined {
  const recipe = recipeOf(inner);
  return recipe && (() => ({ module, name, args: { ...args, inner: recipe() } }));
}

/** Opens a device that another thread has open. Its `close` leaves the device open for the others. */
export async function openShared({ module, name, args }: Recipe): Promise<BlockBackend> {
  const { [name]: open } = (await import(module)) as Record<string, (from: unknown) => MaybePromise<BlockBackend>>;
  if (!open) throw new Error(`${module} has no ${name}`);
  return open(args);
}
